"""What must be signed, and what is taken for a signature of it; the signatures are vectors that cosign made."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from moby import http, log
from moby.errors import IntegrityError, MobyError
from moby.oci import blob, cosign
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Manifest, Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.resolve import ImageSource, PullPolicy
from moby.oci.store import Store
from moby.oci.trust import Policy, Trust, Verifier
from tests.support.cosign import key, publish, subjects, vector
from tests.support.images import image
from tests.support.registry import Answer, FakeRegistry, Request, always

AMD64 = Platform.parse("amd64")
KEYS = tuple(key(name) for name in ("ed25519", "cosign"))
SIGNED = ("simple", "bundle", "simple-rsa", "simple-p384", "bundle-rsa", "blob")


@pytest.fixture
def registry() -> Iterator[Registry]:
    with http.client() as client:
        yield Registry(lambda: client, sleep=lambda seconds: None)


class Builder:
    """Resolves one image as a build does that trusts ``keys`` alone."""

    def __init__(
        self, store: Store, registry: Registry | None, *, policy: Policy | None = None, pull: PullPolicy | None = None
    ) -> None:
        self._store, self._registry = store, registry
        self._policy, self._pull = policy, pull or PullPolicy.MISSING

    def get(self, name: str, *keys: str) -> Image:
        wanted = Trust(keys=tuple(map(key, keys or ("cosign",))), policy=self._policy)
        verifier = Verifier(trust=wanted, store=self._store, registry=self._registry)
        source = ImageSource(self._store, self._registry, self._pull, verifier=verifier)
        return source.resolve(Reference.parse(name), AMD64)


def layers_asked(fake: FakeRegistry) -> bool:
    layers = [str(layer.digest) for each in subjects() for layer in each.layer_descriptors]
    return any(request.path.rpartition("/")[2] in layers for request in fake.requests)


@pytest.mark.parametrize("name", SIGNED)
def test_a_signed_image_is_pulled_and_verified_again_without_a_network(
    store: Store, registry: Registry, name: str
) -> None:
    made = vector(name)
    with FakeRegistry() as fake:
        publish(fake, made)
        found = Builder(store, registry).get(f"{fake.host}/x:1", made.key.name.removesuffix(".pub"))
    again = Builder(store, None).get(f"{fake.host}/x:1", made.key.name.removesuffix(".pub"))
    assert again == found
    with pytest.raises(IntegrityError, match="by another key"):
        Builder(store, None).get(f"{fake.host}/x:1", "ed25519")


def test_referrers_are_taken_from_the_api_where_there_is_one(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    made = vector("bundle")
    publish(fake, made)
    del fake.manifests["x", made.tag]
    entries = [
        Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(each.data), size=len(each.data)) for each in made.referrers
    ]
    listed = Index(manifests=(*entries, entries[0].changed(artifact_type="application/spdx")))
    answer = Answer(headers={"Content-Type": OCI_INDEX}, body=listed.encode())
    fake.rules.append(always(lambda request: "/referrers/" in request.path, answer))
    assert Builder(store, registry).get(f"{fake.host}/x:1")


def refused(builder: Builder, name: str, message: str, *keys: str) -> str:
    with pytest.raises(IntegrityError, match=message) as caught:
        builder.get(name, *keys)
    assert "moby cache push --sign" in caught.value.fix
    return str(caught.value)


def test_an_unsigned_image_is_refused_before_a_layer_is_read(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    digest = fake.put("x", "1", subjects())
    said = refused(Builder(store, registry), f"{fake.host}/x:1", "no good signature for sha256:.*: it has none")
    assert str(digest) in said
    assert f"{fake.host}/x:1" in said
    assert not layers_asked(fake)
    assert store.names() == ()


def test_a_signature_by_another_key_stops_the_build_before_a_layer_is_read(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    publish(fake, vector("simple"))
    refused(Builder(store, registry), f"{fake.host}/x:1", "by another key", "rsa", "ed25519")
    assert not layers_asked(fake)


@pytest.mark.parametrize("name", ["simple", "bundle"])
def test_another_images_signature_stops_the_build_before_a_layer_is_read(
    fake: FakeRegistry, store: Store, registry: Registry, name: str
) -> None:
    made, other = vector(name), image([{"evil": "1"}])
    publish(fake, made)
    fake.put("x", "1", other)
    assert made.tagged
    tag = made.tag.replace(made.digest.hex, other.descriptor.digest.hex)
    fake.put_manifest("x", tag, made.tagged.media_type, made.tagged.data)
    refused(Builder(store, registry), f"{fake.host}/x:1", f"a signature of another image, {made.digest}")
    assert not [each for each in fake.requests if each.path.endswith(str(other.layer_descriptors[0].digest))]


def test_an_attestation_by_the_right_key_does_not_do(fake: FakeRegistry, store: Store, registry: Registry) -> None:
    publish(fake, vector("attestation"))
    refused(Builder(store, registry), f"{fake.host}/x:1", "a statement and no signature")


def test_the_signature_of_one_platforms_image_is_none_of_the_index(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    publish(fake, vector("blob"))
    fake.put("x", "1", subjects())
    refused(Builder(store, registry), f"{fake.host}/x:1", "it has none")
    assert Builder(store, registry).get(f"{fake.host}/x@{vector('blob').digest}")


def test_an_altered_payload_is_refused(fake: FakeRegistry, store: Store, registry: Registry) -> None:
    made = vector("simple")
    publish(fake, made)
    assert made.tagged
    for each in made.tagged.blobs[1:]:
        fake.blobs[str(Digest.of(each))] = each.replace(b"null", b"true").replace(b'"1"', b'"2"')
    refused(Builder(store, registry), f"{fake.host}/x:1", "does not match its digest")


def test_signatures_that_are_too_large_or_too_many_are_not_read(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    digest = fake.put("x", "1", subjects())
    config = fake.blobs and Descriptor(media_type="x", digest=Digest.of(subjects()[0].config), size=228)
    assert config
    large = Descriptor(media_type=cosign.SIMPLE_SIGNING, digest=Digest.of(b"x"), size=1 << 40)
    for layers, message in (((large,), "262144 are allowed"), ((large,) * 65, "65 signatures in one manifest")):
        fake.put_manifest("x", cosign.tag(digest), OCI_MANIFEST, Manifest(config=config, layers=layers).encode())
        refused(Builder(store, registry), f"{fake.host}/x:1", message)
    assert not [each for each in fake.requests if each.path.endswith(large.digest.hex)]


def test_ten_thousand_referrers_cost_no_more_than_a_few(fake: FakeRegistry, store: Store, registry: Registry) -> None:
    digest = fake.put("x", "1", subjects())
    entry = Descriptor(media_type=OCI_MANIFEST, digest=Digest.of(b"x"), size=2)
    index = Index(manifests=(entry,) * 10_000).encode()
    fake.put_manifest("x", f"sha256-{digest.hex}", OCI_INDEX, index)
    fake.put_manifest("x", str(entry.digest), OCI_MANIFEST, b"{}")
    fake.rules.append(always(lambda request: request.path.endswith(entry.digest.hex), Answer(body=b"xx")))
    refused(Builder(store, registry), f"{fake.host}/x:1", "10000 bundles; only 128 are looked at")
    assert len(fake.asked(entry.digest.hex)) == 128


@pytest.mark.parametrize("tagged", [b"[]", b'{"manifests": []}', b'{"layers": 1, "config": {}}'])
def test_broken_signature_documents_are_no_signature(
    fake: FakeRegistry, store: Store, registry: Registry, tagged: bytes
) -> None:
    digest = fake.put("x", "1", subjects())
    fake.put_manifest("x", cosign.tag(digest), "", tagged)
    refused(Builder(store, registry), f"{fake.host}/x:1", "no good signature")


def test_an_unsigned_image_at_a_mirror_is_asked_for_at_the_registry(store: Store, fake: FakeRegistry) -> None:
    publish(fake, vector("simple"))
    with FakeRegistry() as cache, http.client() as client:
        cache.put("x", "1", image([{"evil": "1"}]))
        mirrored = Registry(lambda: client, mirrors=[cache.url], sleep=lambda seconds: None)
        assert Builder(store, mirrored).get(f"{fake.host}/x:1").digest == subjects()[0].descriptor.digest


# What is in the store.


def test_a_stored_image_without_its_signature_is_verified_at_the_registry_once(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    publish(fake, vector("simple"))
    name = f"{fake.host}/x:1"
    registry.pull(Reference.parse(name), AMD64, store)
    with pytest.raises(IntegrityError, match="the registry was not asked"):
        Builder(store, None).get(name)
    assert Builder(store, registry).get(name)
    fake.requests.clear()
    assert Builder(store, registry).get(name)
    assert not fake.requests


def test_a_registry_that_is_down_is_named_when_the_store_has_no_signature(store: Store, registry: Registry) -> None:
    with FakeRegistry() as fake, http.client() as client:
        publish(fake, vector("simple"))
        Registry(lambda: client).pull(Reference.parse(f"{fake.host}/x:1"), AMD64, store)
    refused(Builder(store, registry), f"{fake.host}/x:1", "cannot be reached")


@pytest.mark.parametrize("name", ["simple", "bundle"])
def test_what_the_store_keeps_is_named_as_a_registry_does(
    fake: FakeRegistry, store: Store, registry: Registry, name: str
) -> None:
    publish(fake, vector(name))
    Builder(store, registry).get(f"{fake.host}/x:1")
    kind = ".sig" if name == "simple" else ""
    assert store.names() == (f"{fake.host}/x:1", f"{fake.host}/x:sha256-{vector(name).digest.hex}{kind}")


def test_a_damaged_signature_in_the_store_is_fetched_again(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    made = vector("simple")
    publish(fake, made)
    Builder(store, registry).get(f"{fake.host}/x:1")
    assert made.tagged
    blob.path(store.root, Digest.of(made.tagged.blobs[1])).write_bytes(b"x" * len(made.tagged.blobs[1]))
    with pytest.raises(IntegrityError, match="does not match its digest"):
        Builder(store, None).get(f"{fake.host}/x:1")
    assert Builder(store, registry).get(f"{fake.host}/x:1")
    assert Builder(store, None).get(f"{fake.host}/x:1")


def test_forcing_a_pull_verifies_what_comes(fake: FakeRegistry, store: Store, registry: Registry) -> None:
    publish(fake, vector("simple"))
    name = f"{fake.host}/x:1"
    Builder(store, registry).get(name)
    fake.put("x", "1", image([{"evil": "1"}]))
    refused(Builder(store, registry, pull=PullPolicy.ALWAYS), name, "it has none")
    assert Builder(store, registry).get(name)


def test_an_image_that_was_put_over_a_signed_one_is_refused(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    publish(fake, vector("simple"))
    name = f"{fake.host}/x:1"
    Builder(store, registry).get(name)
    image([{"evil": "1"}]).save(store, name)
    refused(Builder(store, registry), name, "no good signature")


def test_an_image_that_was_stored_between_looking_and_resolving_is_verified(
    fake: FakeRegistry, store: Store, registry: Registry
) -> None:
    publish(fake, vector("simple"))
    reference = Reference.parse(f"{fake.host}/x:1")
    verifier = Verifier(trust=Trust(keys=(key("cosign"),)), store=store, registry=registry)
    source = ImageSource(store, registry, verifier=verifier)
    source.look(reference, AMD64)
    image([{"evil": "1"}]).save(store, str(reference))
    for ask in (source.look, source.resolve):
        with pytest.raises(IntegrityError, match="no good signature"):
            ask(reference, AMD64)
    assert not source.is_waiting


# What is asked for.


def test_warning_takes_the_image_and_says_why_once(
    fake: FakeRegistry, store: Store, registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    publish(fake, vector("simple"))
    with log.reporting(log.Console()):
        assert Builder(store, registry, policy=Policy.WARN).get(f"{fake.host}/x:1", "rsa")
    warnings = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == 1
    assert "by another key" in warnings[0]


def named(*images: str, organisations: tuple[str, ...] = (), keys: bool = True) -> Trust:
    return Trust(images=tuple(map(Reference.parse, images)), organisations=organisations, keys=KEYS if keys else ())


@pytest.mark.parametrize(
    ("wanted", "covered", "not_covered"),
    [
        (named("nginx"), ["nginx", "nginx:1", f"nginx@{Digest.of(b'')}"], ["org/nginx"]),
        (named("nginx"), ["index.docker.io/library/nginx:1"], ["other.example/library/nginx"]),
        (named("nginx:1"), ["nginx:1", f"nginx@{Digest.of(b'')}", f"nginx:1@{Digest.of(b'')}"], ["nginx", "nginx:2"]),
        (named("nginx:latest"), ["nginx", "nginx:latest"], ["nginx:2"]),
        (named(f"nginx@{Digest.of(b'')}"), ["nginx", f"nginx@{Digest.of(b'')}"], [f"nginx@{Digest.of(b'a')}"]),
        (named("quay.io/a/b"), ["quay.io/a/b:1", "QUAY.io/a/b"], ["a/b", "quay.io/a/b/c"]),
        (named(organisations=("org",)), ["org/x", "quay.io/org/x:1", "quay.io/org/deep/x"], ["organisation/x", "x"]),
        (named(organisations=("library",)), ["nginx"], ["org/nginx"]),
        (named(organisations=("quay.io/org/",)), ["quay.io/org/x", "Quay.io/org/x"], ["org/x", "quay.io/orga/x"]),
        (named(organisations=("host:5000",)), ["host:5000/x", "host:5000/a/b"], ["host:5001/x", "x"]),
        (named(), ["nginx", "quay.io/a/b"], ["localhost/moby/init:1"]),
        (named(organisations=("moby",)), ["moby/x"], ["localhost/moby/init:1"]),
        (named(keys=False), [], ["nginx"]),
    ],
)  # fmt: skip
def test_names_and_organisations_say_which_images_must_be_signed(
    wanted: Trust, covered: list[str], not_covered: list[str]
) -> None:
    assert [each for each in covered if not wanted.covers(Reference.parse(each))] == []
    assert [each for each in not_covered if wanted.covers(Reference.parse(each))] == []


def test_what_is_not_listed_is_pulled_unsigned(fake: FakeRegistry, store: Store, registry: Registry) -> None:
    fake.put("x", "1", subjects())
    wanted = Trust(images=(Reference.parse(f"{fake.host}/y"),), keys=KEYS)
    source = ImageSource(store, registry, verifier=Verifier(trust=wanted, store=store, registry=registry))
    assert source.resolve(Reference.parse(f"{fake.host}/x:1"), AMD64)
    assert not [each for each in fake.requests if "sha256-" in each.path]


def slow(request: Request) -> Answer | None:
    return Answer(status=500) if "sha256-" in request.path else None


def test_a_registry_that_fails_to_say_is_no_consent(fake: FakeRegistry, store: Store, registry: Registry) -> None:
    publish(fake, vector("simple"))
    fake.rules.append(slow)
    with pytest.raises(MobyError, match="the registry failed"):
        Builder(store, registry).get(f"{fake.host}/x:1")
    assert not layers_asked(fake)
