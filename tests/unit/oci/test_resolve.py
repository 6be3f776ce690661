from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from moby import http, log
from moby.errors import RegistryError
from moby.oci.digest import Digest
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Looked, Registry
from moby.oci.resolve import ImageSource, PullPolicy
from moby.oci.store import Store
from tests.support.images import image
from tests.support.registry import Answer, FakeRegistry, always, blobs, manifests

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with http.client() as client:
        yield Registry(lambda: client, sleep=lambda seconds: None)


def unused() -> httpx.Client:
    raise AssertionError("nothing should ask for the network")


def test_what_is_stored_needs_no_network(store: Store) -> None:
    saved = image([{"a": "1"}]).save(store, "docker.io/library/a:1")
    assert ImageSource(store, Registry(unused)).resolve(Reference.parse("a:1"), AMD64) == saved


def test_what_is_missing_is_pulled_once(store: Store, fake: FakeRegistry, registry: Registry) -> None:
    digest = fake.put("x", "1", image([{"a": "1"}]))
    reference = Reference.parse(f"{fake.host}/x:1")
    source = ImageSource(store, registry)
    assert source.resolve(reference, AMD64).digest == digest
    fake.requests.clear()
    assert source.resolve(reference, AMD64).digest == digest
    assert fake.requests == []


def test_looking_fetches_the_configuration_once_and_resolving_then_the_layers(
    store: Store, fake: FakeRegistry, registry: Registry
) -> None:
    made = image([{"a": "1"}], config={"Labels": {"x": "y"}})
    digest = fake.put("x", "1", [made, image([{"a": "2"}], architecture="arm64")])
    reference, source = Reference.parse(f"{fake.host}/x:1"), ImageSource(store, registry)
    looked = [source.look(reference, AMD64), source.look(reference, AMD64)]
    assert [each.config.labels for each in looked] == [{"x": "y"}] * 2
    assert (source.is_waiting, store.names()) == (True, ())
    asked = [each.path.rpartition("/")[2] for each in fake.asked("/x/")]
    config = Digest.of(made.config)
    assert asked == ["1", str(made.descriptor.digest), str(config)]
    fake.requests.clear()
    pulled = source.resolve(reference, AMD64)
    assert [each.path.rpartition("/")[2] for each in fake.asked("/x/")] == [str(made.layer_descriptors[0].digest)]
    assert (pulled, pulled.root, source.is_waiting) == (looked[0], looked[0].root, False)
    assert looked[0].root
    assert looked[0].root.digest == digest
    assert store.find(reference, AMD64) == pulled


def test_an_image_that_a_mirror_has_but_cannot_give_is_pulled_elsewhere_if_it_is_the_same(
    store: Store, fake: FakeRegistry, registry: Registry
) -> None:
    with FakeRegistry() as mirror, http.client() as client:
        fake.put("x", "1", image([{"a": "1"}]))
        mirror.put("x", "1", image([{"a": "1"}]))
        source = ImageSource(
            store, Registry(lambda: client, mirrors=[f"{fake.host}={mirror.url}"], sleep=lambda seconds: None)
        )
        reference = Reference.parse(f"{fake.host}/x:1")
        looked = source.look(reference, AMD64)
        mirror.rules.append(always(blobs, Answer(status=404)))
        assert source.resolve(reference, AMD64) == looked
        fake.put("x", "2", image([{"a": "2"}]))
        mirror.rules.clear()
        mirror.put("x", "2", image([{"a": "3"}]))
        other = Reference.parse(f"{fake.host}/x:2")
        source.look(other, AMD64)
        mirror.rules.append(always(blobs, Answer(status=404)))
        fake.requests.clear()
        with pytest.raises(RegistryError, match="its mirrors differ, or it changed while it was pulled"):
            source.resolve(other, AMD64)
        assert store.names() == (str(reference),), "the name has moved"
        assert fake.asked("/blobs/") == []


def test_a_registry_that_is_down_does_not_keep_its_mirror_from_being_asked(
    store: Store, fake: FakeRegistry, client: httpx.Client
) -> None:
    with FakeRegistry() as gone:
        pass
    digest = fake.put("b", "1", image([{"a": "1"}]))
    registry = Registry(lambda: client, mirrors=[f"{gone.host}={fake.url}"], sleep=lambda seconds: None)
    source = ImageSource(store, registry)
    with pytest.raises(RegistryError, match="cannot be reached: "):
        source.look(Reference.parse(f"{gone.host}/a:1"), AMD64)
    assert source.resolve(Reference.parse(f"{gone.host}/b:1"), AMD64).digest == digest


def test_a_mirror_that_is_down_is_asked_once(store: Store, fake: FakeRegistry, client: httpx.Client) -> None:
    with FakeRegistry() as gone:
        pass
    registry = Registry(lambda: client, mirrors=[gone.url], sleep=lambda seconds: None)
    source = ImageSource(store, registry)
    said = []
    for name in "ab":
        with pytest.raises(RegistryError) as caught:
            source.resolve(Reference.parse(f"{fake.host}/{name}:1"), AMD64)
        said.append(str(caught.value).splitlines())
    assert said[0][2].startswith(f"  2. mirror {gone.url}/v2/a/manifests/1: cannot be reached: ")
    assert said[1][2] == f"  2. mirror {gone.url}: not asked again: it cannot be reached"
    assert said[1][3].startswith(f"  3. registry {fake.host}: {fake.url}/v2/b/manifests/1: not found")


def test_pull_always_asks_again_but_not_for_digests(store: Store, fake: FakeRegistry, registry: Registry) -> None:
    old = fake.put("x", "1", image([{"a": "1"}]))
    source = ImageSource(store, registry, PullPolicy.ALWAYS)
    source.resolve(Reference.parse(f"{fake.host}/x:1"), AMD64)
    new = fake.put("x", "1", image([{"a": "2"}]))
    assert source.resolve(Reference.parse(f"{fake.host}/x:1"), AMD64).digest == new
    fake.requests.clear()
    assert source.resolve(Reference.parse(f"{fake.host}/x@{old}"), AMD64).digest == old
    assert fake.requests == []


def test_another_platform_in_the_store_does_not_do(store: Store, fake: FakeRegistry, registry: Registry) -> None:
    image([{"a": "1"}]).save(store, f"{fake.host}/x:1")
    fake.put("x", "1", [image([{"a": each}], architecture=each) for each in ("amd64", "arm64")])
    found = ImageSource(store, registry).resolve(Reference.parse(f"{fake.host}/x:1"), ARM64)
    assert found.platform == ARM64


def test_an_unknown_image_lists_every_place_in_order(store: Store, fake: FakeRegistry, registry: Registry) -> None:
    with pytest.raises(RegistryError) as caught:
        ImageSource(store, registry).resolve(Reference.parse(f"{fake.host}/x:1"), AMD64)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{fake.host}/x:1: image not found; looked in"
    assert lines[1] == f"  1. store {store.root}: not there"
    assert lines[2].startswith(f"  2. registry {fake.host}: {fake.url}/v2/x/manifests/1: not found (status 404, ")
    assert "check the name and the tag" in lines[3]


def test_a_mirror_is_a_place_of_its_own(store: Store, fake: FakeRegistry, client: httpx.Client) -> None:
    with FakeRegistry() as mirror:
        mirrored = Registry(lambda: client, mirrors=[mirror.url])
        with pytest.raises(RegistryError) as caught:
            ImageSource(store, mirrored).resolve(Reference.parse(f"{fake.host}/x:1"), AMD64)
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  1. store {store.root}: not there"
    assert lines[2].startswith(f"  2. mirror {mirror.url}/v2/x/manifests/1: not found (status 404, ")
    assert lines[3].startswith(f"  3. registry {fake.host}: {fake.url}/v2/x/manifests/1: not found (status 404, ")


def test_a_name_like_it_that_the_store_has_is_offered(store: Store, fake: FakeRegistry, registry: Registry) -> None:
    for name in (f"{fake.host}/nginx:1.27", "localhost/moby/nginx:0123"):
        image([{"a": "1"}]).save(store, name)
    with pytest.raises(RegistryError) as caught:
        ImageSource(store, registry).look(Reference.parse(f"{fake.host}/ngnix:1.27"), AMD64)
    near = f"did you mean {fake.host}/nginx:1.27, which is in the store?"
    assert caught.value.fix == f"{near} else check the name and the tag"


def test_a_name_like_it_is_the_only_advice_when_the_error_has_none(
    store: Store, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **more: object) -> Looked:
        raise RegistryError("no")

    image([{"a": "1"}]).save(store, "r.invalid/nginx:1")
    monkeypatch.setattr(registry, "look", fail)
    with pytest.raises(RegistryError) as caught:
        ImageSource(store, registry).look(Reference.parse("r.invalid/ngnix:1"), AMD64)
    assert caught.value.fix == "did you mean r.invalid/nginx:1, which is in the store?"


def test_the_store_s_other_platforms_are_mentioned(store: Store, fake: FakeRegistry, registry: Registry) -> None:
    image([{"a": "1"}]).save(store, f"{fake.host}/x:1")
    with pytest.raises(RegistryError, match=r"1. store .*: not there for linux/arm64"):
        ImageSource(store, registry).resolve(Reference.parse(f"{fake.host}/x:1"), ARM64)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refusal_says_that_the_image_may_be_private(
    store: Store, fake: FakeRegistry, registry: Registry, status: int
) -> None:
    fake.rules.append(always(manifests, Answer(status=status)))
    with pytest.raises(RegistryError, match="does not exist, or not for us"):
        ImageSource(store, registry).resolve(Reference.parse(f"{fake.host}/x:1"), AMD64)


@pytest.mark.parametrize("policy", list(PullPolicy))
def test_components_are_never_pulled(store: Store, policy: PullPolicy) -> None:
    reference = Reference.parse("localhost/moby/nginx:0123")
    with pytest.raises(
        RegistryError, match=r'these images are built here\n  .build it: moby pkg build, or write "@pkg:NAME" in'
    ):
        ImageSource(store, Registry(unused), policy).resolve(reference, AMD64)
    image([{"a": "1"}]).save(store, str(reference))
    assert ImageSource(store, Registry(unused), policy).resolve(reference, AMD64).platform == AMD64


@pytest.mark.parametrize("source", ["none", "never"])
def test_pulling_can_be_turned_off(store: Store, source: str) -> None:
    registry = None if source == "none" else Registry(unused)
    policy = PullPolicy.MISSING if source == "none" else PullPolicy.NEVER
    with pytest.raises(RegistryError, match=r"2. registry docker.io: not asked, as pulling is turned off"):
        ImageSource(store, registry, policy).resolve(Reference.parse("a:1"), AMD64)


def test_an_image_for_another_machine_is_used_with_a_notice(
    store: Store, fake: FakeRegistry, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    log.use(log.Console())
    try:
        fake.put("x", "1", image([{"a": "1"}], architecture="riscv64"))
        source = ImageSource(store, registry)
        source.look(Reference.parse(f"{fake.host}/x:1"), AMD64)
        source.resolve(Reference.parse(f"{fake.host}/x:1"), AMD64)
    finally:
        log.use(log.Silent())
    said = capsys.readouterr().err
    assert said.count(f"{fake.host}/x:1 is an image for linux/riscv64, used for linux/amd64") == 1
