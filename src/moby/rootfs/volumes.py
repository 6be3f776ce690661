"""Volumes: directories that containers share, each with ``lower`` (what the image gave), ``tmp`` and ``merged``.

An ``oci`` volume holds its image as an OCI image layout (image specification 1.1, "Image Layout") instead of its files.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from moby.formats.entry import Entry, Kind, directory, file
from moby.oci import layers
from moby.oci.digest import Digest
from moby.oci.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
    decode,
)
from moby.oci.store import Store
from moby.plan import VolumePlan
from moby.rootfs.bundle import ancestors
from moby.rootfs.contents import Resolver, contents
from moby.rootfs.merge import Merge

_LAYOUT = b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'


def volume(plan: VolumePlan, store: Store, merge: Merge, *, origin: str) -> Iterator[Entry]:
    """The directory of one volume, laid into ``merge``."""
    lower = lower_of(plan)
    image: Iterable[Entry] = ()
    if plan.images and plan.format == "oci":
        image = layout(plan, store, lower, origin)
    elif plan.images:
        image = contents(layers.entries(store, plan.images[0], origin=origin), lower, Resolver.LINK, origin=origin)
    return around(plan, merge, image, origin=origin)


def lower_of(plan: VolumePlan) -> str:
    """Where the files of a volume's image are."""
    return f"{plan.directory}/lower"


def around(plan: VolumePlan, merge: Merge, image: Iterable[Entry], *, origin: str) -> Iterator[Entry]:
    """The directory of one volume with the files of ``image``."""
    lower = lower_of(plan)
    for path in ancestors(lower):
        yield from merge.generate(path, origin=origin)
    yield from merge.nest(image, lower)
    yield from merge.generate(f"{plan.directory}/tmp", origin=origin)
    yield from merge.generate(f"{plan.directory}/merged", origin=origin)


def layout(plan: VolumePlan, store: Store, root: str, origin: str) -> Iterator[Entry]:
    """The image of an ``oci`` volume: every blob of the wanted platforms, under the index that the store has for it.

    It lies below ``root``; with ``""`` paths are relative to it.
    """
    prefix = f"{root}/" if root else ""
    yield file(f"{prefix}oci-layout", _LAYOUT, origin=origin)
    top, blobs = _blobs(plan, store)
    yield directory(f"{prefix}blobs", origin=origin)
    for algorithm in sorted({blob.digest.algorithm for blob in blobs} | {"sha256"}):
        yield directory(f"{prefix}blobs/{algorithm}", origin=origin)
    for blob in blobs:
        yield from _blob(blob, store, prefix, origin)
    yield file(f"{prefix}index.json", _index(top, plan), origin=origin)


def layout_digests(plan: VolumePlan, store: Store) -> list[str]:
    """The digests of all blobs of an ``oci`` volume, which is more than its image's: the store decides, too."""
    return [str(blob.digest) for blob in _blobs(plan, store)[1]]


def _blobs(plan: VolumePlan, store: Store) -> tuple[Descriptor, list[Descriptor]]:
    """The top of an ``oci`` volume, and all its blobs with it."""
    top = _top(plan, store)
    document = store.read_manifest(top)
    manifests = [top]
    if isinstance(document, Index):
        wanted = {image.digest for image in plan.images} if plan.platforms else None
        manifests = [each for each in document.manifests if _chosen(each, wanted, store)]
    blobs: dict[Digest, Descriptor] = {}
    for each in manifests:
        manifest = store.read_manifest(each)
        if isinstance(manifest, Manifest):
            blobs |= {blob.digest: blob for blob in (manifest.config, *manifest.layers, each)}
    blobs[top.digest] = top
    return top, list(blobs.values())


def _top(plan: VolumePlan, store: Store) -> Descriptor:
    """What the volume's name means in the store: its index, or else the manifest of its one image."""
    assert plan.reference is not None
    found = [each for name in plan.reference.names for each in store.descriptors(name)]
    digest = plan.reference.digest
    for each in found:
        if each.media_type in INDEX_TYPES and digest in (None, each.digest):
            return each
    image = plan.images[0]
    data = store.read_blob(image.digest, MAX_MANIFEST_BYTES)
    return Descriptor(media_type=decode(data, "").media_type, digest=image.digest, size=len(data))


def _chosen(descriptor: Descriptor, wanted: set[Digest] | None, store: Store) -> bool:
    """Whether a manifest goes into the volume: one that is asked for, or any that the store has whole."""
    if wanted is not None:
        return descriptor.digest in wanted
    if descriptor.media_type not in MANIFEST_TYPES or not store.has(descriptor):
        return False
    manifest = store.read_manifest(descriptor)
    return isinstance(manifest, Manifest) and all(store.has(each) for each in (manifest.config, *manifest.layers))


def _blob(blob: Descriptor, store: Store, prefix: str, origin: str) -> Iterator[Entry]:
    path = f"{prefix}blobs/{blob.digest.algorithm}/{blob.digest.hex}"
    with store.open_blob(blob.digest) as stream:
        yield Entry(path=path, kind=Kind.FILE, size=blob.size, data=stream, origin=origin)
        stream.read(1)  # at its end the blob is checked


def _index(top: Descriptor, plan: VolumePlan) -> bytes:
    """``index.json`` with the one name."""
    descriptor = {
        "mediaType": top.media_type,
        "size": top.size,
        "digest": str(top.digest),
        "annotations": {REF_NAME: str(plan.reference)},
    }
    document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [descriptor]}
    return json.dumps(document, indent=3, ensure_ascii=False).encode()
