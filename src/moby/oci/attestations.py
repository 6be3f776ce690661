"""Statements about an image that its index carries beside it: the SBOM that a builder attached.

Source: BuildKit's attestation storage: an index entry of the platform ``unknown/unknown`` whose annotations name the
manifest it is about; its layers are in-toto statements, each with its predicate type in an annotation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from moby import log
from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import INDEX_TYPES, OCI_CONFIG, Descriptor, Index, Manifest, Platform
from moby.oci.store import Store

IN_TOTO = "application/vnd.in-toto+json"
STATEMENT = "https://in-toto.io/Statement/v0.1"
PREDICATE_TYPE = "in-toto.io/predicate-type"
SPDX = "https://spdx.dev/Document"
# Read as text when the SBOM of a machine is made.
MAX_BYTES = 32 << 20

_TYPE = "vnd.docker.reference.type"
_SUBJECT = "vnd.docker.reference.digest"
_MANIFEST = "attestation-manifest"
_UNKNOWN = Platform(os="unknown", architecture="unknown")


def about(index: Index, digest: Digest) -> tuple[Descriptor, ...]:
    """The entries of ``index`` that attest something about the manifest ``digest``."""
    wanted = {_TYPE: _MANIFEST, _SUBJECT: str(digest)}
    return tuple(each for each in index.manifests if wanted.items() <= (each.annotations or {}).items())


def statements(manifest: Manifest, predicate: str = SPDX) -> tuple[Descriptor, ...]:
    """The in-toto statements of an attestation manifest that have this predicate."""
    return tuple(
        each
        for each in manifest.layers
        if each.media_type == IN_TOTO and (each.annotations or {}).get(PREDICATE_TYPE) == predicate and _usable(each)
    )


def find(store: Store, image: Image) -> tuple[Descriptor, ...]:
    """The SPDX statements about ``image`` that the store has, in the index's order."""
    found: dict[Digest, Descriptor] = {}
    for index in _indexes(store, image):
        for descriptor in filter(store.has, about(index, image.digest)):
            manifest = store.read_manifest(descriptor)
            if isinstance(manifest, Manifest):
                found |= {each.digest: each for each in statements(manifest) if store.has(each)}
    return tuple(found.values())


def _usable(statement: Descriptor) -> bool:
    if statement.size > MAX_BYTES:
        log.info(f"an SBOM of {statement.size} bytes is left out: {statement.digest}")
    return statement.size <= MAX_BYTES


def _indexes(store: Store, image: Image) -> Iterator[Index]:
    """The indexes that the image's name means."""
    named = [each for name in image.reference.names for each in store.descriptors(name)]
    for descriptor in [*named, *([image.root] if image.root else [])]:
        if descriptor.media_type in INDEX_TYPES and store.has(descriptor):
            document = store.read_manifest(descriptor)
            if isinstance(document, Index):
                yield document


def attach(store: Store, image: Image, documents: Iterable[bytes], names: Iterable[str] = ()) -> None:
    """Let the index of ``image``'s name, and those of other ``names``, say that these SPDX documents are about it."""
    layers = tuple(_layer(store, image, document) for document in documents)
    config = {
        "architecture": "unknown",
        "os": "unknown",
        "config": {},
        "rootfs": {"type": "layers", "diff_ids": [str(each.digest) for each in layers]},
    }
    manifest = Manifest(config=store.put_blob(_compact(config), OCI_CONFIG), layers=layers)
    stored = store.put_blob(manifest.encode(), manifest.media_type)
    annotations = {_SUBJECT: str(image.digest), _TYPE: _MANIFEST}
    entry = stored.changed(platform=_UNKNOWN, annotations=annotations)
    for name in (image.reference.expanded, *names):
        store.change_index(name, lambda index: _with(index, entry, image.digest))


def _with(index: Index, entry: Descriptor, digest: Digest) -> Index:
    """``index`` with ``entry`` as the only attestation about ``digest``, and none about what it no longer has."""
    images = [each for each in index.manifests if not each.is_attestation]
    present = {str(each.digest) for each in images} - {str(digest)}
    others = [
        each
        for each in index.manifests
        if each.is_attestation and (each.annotations or {}).get(_SUBJECT, "") in present
    ]
    attestations = sorted([*others, entry], key=lambda each: str((each.annotations or {}).get(_SUBJECT)))
    return index.changed(manifests=(*images, *attestations))


def _layer(store: Store, image: Image, document: bytes) -> Descriptor:
    statement = {
        "_type": STATEMENT,
        "predicateType": SPDX,
        "subject": [{"name": image.reference.expanded, "digest": {image.digest.algorithm: image.digest.hex}}],
        "predicate": json.loads(document),
    }
    layer = store.put_blob(_compact(statement), IN_TOTO)
    return layer.changed(annotations={PREDICATE_TYPE: SPDX})


def _compact(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
