"""Pushing whole images: names that several share, what is kept, what is refused."""

from __future__ import annotations

import io
import threading
from collections.abc import Sequence

import httpx
import pytest

from moby.errors import ConfigError, IntegrityError, RegistryError
from moby.oci import blob, indexes
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_INDEX
from moby.oci.push import Outcome, Pushed
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.images import MadeImage, image, index
from tests.support.registry import Answer, FakeRegistry, Request, always, manifests

NAME = "docker.io/library/a:1"


def made(architecture: str, text: str = "1") -> MadeImage:
    return image([{"a": text}, {architecture: "2"}], architecture=architecture)


def save(store: Store, *images: MadeImage) -> None:
    for each in images:
        each.save(store, NAME)


def push(
    client: httpx.Client,
    fake: FakeRegistry,
    store: Store,
    tag: str = "1",
    *,
    override: bool = False,
    tags: bool = False,
) -> Pushed:
    registry = Registry(lambda: client, sleep=lambda seconds: None)
    reference = Reference.parse(f"{fake.host}/org/x:{tag}")
    return registry.push(NAME, reference, store, override=override, arch_tags=tags)


def there(fake: FakeRegistry, tag: str = "1") -> dict[str, object]:
    """What a tag has by platform."""
    return {indexes.platform(each): each["digest"] for each in indexes.entries(fake.manifests["org/x", tag][1])}


def digests(images: Sequence[MadeImage]) -> dict[str, object]:
    return {str(each.platform): str(each.descriptor.digest) for each in images}


def written(fake: FakeRegistry) -> list[Request]:
    return [each for each in fake.requests if each.method != "GET" and each.method != "HEAD"]


def test_an_image_arrives_with_its_digest(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    both = made("amd64"), made("arm64")
    save(store, *both)
    pushed = push(client, fake, store)
    (root,) = store.descriptors(NAME)
    assert pushed == Pushed(digest=root.digest, outcome=Outcome.PUSHED, platforms=("linux/amd64", "linux/arm64"))
    assert Digest.of(fake.manifests["org/x", "1"][1]) == root.digest
    assert there(fake) == digests(both)
    wanted = {str(digest) for each in both for digest in each.blobs}
    assert set(fake.blobs) == wanted


def test_what_is_there_already_is_left_alone(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    save(store, made("amd64"))
    push(client, fake, store)
    fake.requests.clear()
    assert push(client, fake, store).outcome is Outcome.UNCHANGED
    assert written(fake) == []


def test_another_platform_joins_those_that_are_there(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    fake.put("org/x", "1", [made("arm64"), made("riscv64")])
    save(store, made("amd64"))
    pushed = push(client, fake, store)
    assert pushed.platforms == ("linux/amd64", "linux/arm64", "linux/riscv64")
    assert there(fake) == digests([made("amd64"), made("arm64"), made("riscv64")])
    assert pushed.digest == Digest.of(fake.manifests["org/x", "1"][1])


def test_the_order_of_pushes_gives_the_same_index(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    both = made("amd64"), made("arm64")
    save(store, *both)
    whole = push(client, fake, store, "whole")
    for tag, images in (("one", both), ("two", both[::-1])):
        for each in images:
            alone = Store(store.root.parent / f"{tag}-{each.platform.architecture}")
            save(alone, each)
            last = push(client, fake, alone, tag)
        assert last.digest == whole.digest


def test_a_single_image_there_becomes_an_entry(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    fake.put("org/x", "1", made("arm64"))
    save(store, made("amd64"))
    push(client, fake, store)
    assert there(fake) == digests([made("amd64"), made("arm64")])


def test_a_single_image_is_pushed_as_it_is(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    alone = made("amd64")
    save(store, alone)
    store.tag(NAME, alone.descriptor.changed(platform=None))
    assert push(client, fake, store).digest == alone.descriptor.digest
    fake.put("org/x", "2", made("arm64"))
    push(client, fake, store, "2")
    assert there(fake, "2") == digests([alone, made("arm64")])


def test_another_image_there_is_kept_unless_told(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    old = fake.put("org/x", "1", [made("amd64", "old"), made("arm64")])
    save(store, made("amd64", "new"))
    assert push(client, fake, store) == Pushed(
        digest=old, outcome=Outcome.KEPT, platforms=("linux/amd64", "linux/arm64")
    )
    assert written(fake) == []
    assert push(client, fake, store, override=True).outcome is Outcome.PUSHED
    assert there(fake) == digests([made("amd64", "new"), made("arm64")])


def test_each_architecture_has_a_tag_when_wanted(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    both = made("amd64"), made("arm64")
    save(store, *both)
    push(client, fake, store, tags=True)
    for each in both:
        assert fake.manifests["org/x", f"1-{each.platform.architecture}"][1] == each.manifest
    assert {tag for _, tag in fake.manifests if not tag.startswith("sha256")} == {"1", "1-amd64", "1-arm64"}


def test_platforms_that_were_not_pulled_are_left_out(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    amd, arm = made("amd64"), made("arm64")
    save(store, amd)
    data, descriptor = index([amd, arm])
    store.ingest(io.BytesIO(data), descriptor)
    store.tag(NAME, descriptor)
    assert push(client, fake, store).platforms == ("linux/amd64",)
    assert there(fake) == digests([amd])
    fake.put("org/x", "2", [amd, arm])
    assert push(client, fake, store, "2").outcome is Outcome.UNCHANGED


def test_layers_that_may_not_be_passed_on_stay_where_they_are(
    client: httpx.Client, fake: FakeRegistry, store: Store
) -> None:
    alone = made("amd64")
    save(store, alone)
    foreign = alone.layer_descriptors[0].changed(
        media_type="application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        urls=("https://owner.example/layer",),
    )
    store.put_image(NAME, alone.config, [foreign, alone.layer_descriptors[1]], alone.platform)
    blob.path(store.root, foreign.digest).unlink()
    push(client, fake, store)
    assert str(foreign.digest) not in fake.blobs
    assert str(alone.layer_descriptors[1].digest) in fake.blobs


def test_an_image_that_is_not_whole_is_refused(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    with pytest.raises(IntegrityError, match="no image of this name"):
        push(client, fake, store)
    save(store, made("amd64"))
    blob.path(store.root, made("amd64").layer_descriptors[0].digest).unlink()
    with pytest.raises(IntegrityError, match="not all of this image"):
        push(client, fake, store)
    assert written(fake) == []


def test_a_digest_is_no_place_to_push_to(client: httpx.Client, store: Store) -> None:
    with pytest.raises(ConfigError, match="a digest is no name to push to"):
        Registry(lambda: client).push(NAME, Reference.parse(f"x@{Digest.of(b'')}"), store)


def test_blobs_of_a_sibling_repository_are_mounted(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    source = made("amd64")
    fake.put("org/base", "1", source)
    source.save(store, f"{fake.host}/org/base:1")
    save(store, source)
    push(client, fake, store)
    assert [each.method for each in fake.asked("/uploads/")] == ["POST"] * 3
    assert all(each.query["from"] == "org/base" for each in fake.asked("/uploads/"))


def test_a_manifest_that_a_registry_refuses(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    save(store, made("amd64"))
    said = b'{"errors": [{"code": "MANIFEST_INVALID", "message": "no"}]}'
    fake.rules.append(
        always(lambda request: request.method == "PUT" and manifests(request), Answer(status=400, body=said))
    )
    with pytest.raises(RegistryError, match="MANIFEST_INVALID: no"):
        push(client, fake, store)
    changed = Answer(status=201, headers={"Docker-Content-Digest": str(Digest.of(b"other"))})
    fake.rules[:] = [always(lambda request: request.method == "PUT" and manifests(request), changed)]
    with pytest.raises(RegistryError, match="in place of"):
        push(client, fake, store)


# Several at once.


def overwrite(fake: FakeRegistry, document: bytes, when: list[str]) -> None:
    """Another push, which knows nothing of ours, writes the tag just after what ``when`` names next."""

    def rule(request: Request) -> Answer | None:
        if not (when and request.path.endswith("/manifests/1") and request.method == when[0]):
            return None
        del when[0]
        answer = fake.answer(request)
        fake.put_manifest("org/x", "1", OCI_INDEX, document)
        return answer

    fake.rules.append(rule)


@pytest.mark.parametrize(
    "when", [["GET"], ["GET", "HEAD"], ["PUT"], ["PUT", "PUT", "PUT"], ["GET", "GET", "PUT", "GET"]]
)
def test_who_loses_a_race_adds_the_entry_again(
    client: httpx.Client, fake: FakeRegistry, store: Store, when: list[str]
) -> None:
    save(store, made("amd64"))
    overwrite(fake, index([made("arm64")])[0], when)
    assert push(client, fake, store).outcome is Outcome.PUSHED
    assert when == []
    assert there(fake) == digests([made("amd64"), made("arm64")])


def test_a_name_that_never_rests_is_given_up(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    save(store, made("amd64"))
    overwrite(fake, index([made("arm64")])[0], ["PUT"] * 20)
    with pytest.raises(RegistryError, match="others changed the name 10 times"):
        push(client, fake, store)


def test_an_image_for_our_platform_that_comes_in_between_is_kept(
    client: httpx.Client, fake: FakeRegistry, store: Store
) -> None:
    save(store, made("amd64"))
    overwrite(fake, index([made("amd64", "theirs")])[0], ["PUT"])
    assert push(client, fake, store).outcome is Outcome.PUSHED  # they came later and are the last word
    assert there(fake) == digests([made("amd64", "theirs")])


def test_architectures_pushed_at_once_are_all_there(client: httpx.Client, fake: FakeRegistry, store: Store) -> None:
    images = [made(each) for each in ("amd64", "arm64", "riscv64", "s390x", "ppc64le", "arm")]
    failures: list[BaseException] = []

    def run(each: MadeImage) -> None:
        alone = Store(store.root.parent / each.platform.architecture)
        save(alone, each)
        try:
            Registry(lambda: client).push(NAME, Reference.parse(f"{fake.host}/org/x:1"), alone)
        except BaseException as error:  # what a thread raises is nobody's otherwise
            failures.append(error)

    threads = [threading.Thread(target=run, args=(each,)) for each in images]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert there(fake) == digests(images)
