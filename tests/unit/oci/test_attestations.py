"""SBOMs beside images: found in the index, pulled with the image, attached to our own."""

from __future__ import annotations

import json

import pytest

from moby.errors import IntegrityError
from moby.oci import attestations
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import OCI_CONFIG, OCI_INDEX, OCI_MANIFEST, Descriptor, Index, Manifest, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.images import MadeImage, image, index
from tests.support.pulling import AMD64, Puller
from tests.support.registry import FakeRegistry

NAME = "localhost/moby/a:1"
DOCUMENT = b'{"spdxVersion":"SPDX-2.3"}'


def predicate(store: Store, descriptor: Descriptor) -> object:
    return json.loads(store.read_blob(descriptor.digest, 1 << 20))["predicate"]


def test_what_is_attached_is_found(store: Store) -> None:
    made = image([{"a": "1"}]).save(store, NAME)
    attestations.attach(store, made, [DOCUMENT])
    (found,) = attestations.find(store, made)
    assert predicate(store, found) == {"spdxVersion": "SPDX-2.3"}
    assert store.find(Reference.parse(NAME), AMD64) == made


def test_attaching_again_replaces(store: Store) -> None:
    made = image([{"a": "1"}]).save(store, NAME)
    attestations.attach(store, made, [b'{"old":1}'])
    attestations.attach(store, made, [DOCUMENT])
    attestations.attach(store, made, [DOCUMENT])
    (found,) = attestations.find(store, made)
    assert predicate(store, found) == {"spdxVersion": "SPDX-2.3"}


def test_each_platform_has_its_own(store: Store) -> None:
    for architecture in ("amd64", "arm64"):
        made = image([{"a": architecture}], architecture=architecture).save(store, NAME)
        attestations.attach(store, made, [json.dumps({"for": architecture}).encode()])
    for architecture in ("amd64", "arm64"):
        kept = store.find(Reference.parse(NAME), Platform.parse(architecture))
        assert kept is not None
        (found,) = attestations.find(store, kept)
        assert predicate(store, found) == {"for": architecture}


def test_one_about_an_image_that_was_replaced_goes(store: Store) -> None:
    old = image([{"a": "1"}]).save(store, NAME)
    attestations.attach(store, old, [b'{"old":1}'])
    new = image([{"a": "2"}]).save(store, NAME)
    assert attestations.find(store, new) == ()
    attestations.attach(store, new, [DOCUMENT])
    (descriptor,) = store.descriptors(NAME)
    document = store.read_manifest(descriptor)
    assert isinstance(document, Index)
    assert len([each for each in document.manifests if each.is_attestation]) == 1


def test_an_image_without_an_index_has_none(store: Store) -> None:
    made = image([{"a": "1"}])
    saved = made.save(store, NAME)
    store.tag("docker.io/library/single:1", Descriptor(media_type=OCI_MANIFEST, digest=saved.digest, size=1))
    assert attestations.find(store, saved) == ()


class Attested:
    """An image in a registry with a statement about it, as BuildKit pushes them."""

    def __init__(self, fake: FakeRegistry, statement: bytes, *, predicate: str = attestations.SPDX) -> None:
        self.image: MadeImage = image([{"a": "1"}])
        self.statement = statement
        fake.put("org/a", "x", self.image)
        layer = Descriptor(
            media_type=attestations.IN_TOTO,
            digest=Digest.of(statement),
            size=len(statement),
            annotations={attestations.PREDICATE_TYPE: predicate},
        )
        config = Descriptor(media_type=OCI_CONFIG, digest=Digest.of(b"{}"), size=2)
        manifest = Manifest(config=config, layers=(layer,)).encode()
        fake.blobs |= {str(layer.digest): statement, str(config.digest): b"{}"}
        fake.put_manifest("org/a", "attestation", OCI_MANIFEST, manifest)
        entry = Descriptor(
            media_type=OCI_MANIFEST,
            digest=Digest.of(manifest),
            size=len(manifest),
            platform=Platform(os="unknown", architecture="unknown"),
            annotations={
                "vnd.docker.reference.type": "attestation-manifest",
                "vnd.docker.reference.digest": str(self.image.descriptor.digest),
            },
        )
        fake.put_manifest("org/a", "1", OCI_INDEX, index([self.image], [entry])[0])


def pulled(puller: Puller, fake: FakeRegistry, store: Store) -> Image:
    return puller.registry.pull(Reference.parse(f"{fake.host}/org/a:1"), AMD64, store)


def test_it_is_pulled_with_its_image(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = Attested(fake, b'{"predicate":{"a":1}}')
    found = pulled(puller, fake, store)
    (descriptor,) = attestations.find(store, found)
    assert store.read_blob(descriptor.digest, 1 << 20) == made.statement


def test_other_statements_are_not_pulled(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = Attested(fake, b'{"x":1}', predicate="https://slsa.dev/provenance/v0.2")
    found = pulled(puller, fake, store)
    assert attestations.find(store, found) == ()
    assert not fake.asked(str(Digest.of(made.statement)))


def test_one_that_the_registry_lost_does_not_matter(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = Attested(fake, b'{"predicate":{"a":1}}')
    del fake.blobs[str(Digest.of(made.statement))]
    found = pulled(puller, fake, store)
    assert attestations.find(store, found) == ()


def test_one_that_was_altered_is_refused(fake: FakeRegistry, puller: Puller, store: Store) -> None:
    made = Attested(fake, b'{"predicate":{"a":1}}')
    fake.blobs[str(Digest.of(made.statement))] = b'{"predicate":{"a":2}}'
    with pytest.raises(IntegrityError):
        pulled(puller, fake, store)
