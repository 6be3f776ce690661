"""Images of a store as one file: an OCI layout, what ``docker load`` reads, or the file system alone.

The same images give the same bytes. Sources: OCI image specification 1.1, "Image Layout"; the Docker image
specification 1.2, ``manifest.json``.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.formats import tar
from moby.formats.compress import decompress
from moby.formats.entry import Entry, Kind, directory, file
from moby.oci import indexes, layers, walk
from moby.oci.digest import Digest
from moby.oci.form import Form
from moby.oci.image import Image
from moby.oci.manifest import (
    LAYER_TYPES,
    MAX_CONFIG_BYTES,
    OCI_INDEX,
    REF_NAME,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from moby.oci.reference import Reference
from moby.oci.store import Store

_MARKER = b'{"imageLayoutVersion":"1.0.0"}'
_FULL_NAME = "io.containerd.image.name"
_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An image to export: what the store calls it, and the name it gets."""

    name: str
    called: str


def export(store: Store, wanted: Sequence[Wanted], platform: Platform | None, form: Form, out: BinaryIO) -> None:
    """Write the images to ``out``: of each the one for ``platform``, or with None all that the store has.

    Raises ``ConfigError`` for a form that cannot hold them, ``IntegrityError`` for an image that is not all there.
    """
    if form is Form.OCI:
        tar.write(_layout(store, [_root(store, each, platform) for each in wanted]), out)
        return
    if platform is None:
        raise ConfigError(f"the form {form} holds an image for one platform", fix="give --platform linux/amd64")
    images = [_image(store, each, platform) for each in wanted]
    if form is Form.DOCKER:
        tar.write(_docker(store, images, [each.called for each in wanted]), out)
        return
    if len(images) != 1:
        raise ConfigError("a file system is that of one image", fix="export one image at a time")
    tar.write(layers.entries(store, images[0]), out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """What an exported layout names: documents made for it, by digest, and all that is below."""

    descriptor: Descriptor
    made: dict[Digest, bytes]
    nodes: tuple[walk.Node, ...]


def _image(store: Store, wanted: Wanted, platform: Platform) -> Image:
    for descriptor in store.descriptors(wanted.name):
        image = store.below(Reference.parse(wanted.called), descriptor, platform)
        if image is not None and platform.accepts(image.platform):
            return image
    known = f"not for {platform}" if store.descriptors(wanted.name) else "under no name like this"
    raise IntegrityError(f"the store has it {known}", where=wanted.name, fix="moby cache ls lists what is there")


def _root(store: Store, wanted: Wanted, platform: Platform | None) -> _Root:
    """What ``wanted`` means in the layout: its index with what is complete, or its manifest alone."""
    if platform is not None:
        image = _image(store, wanted, platform)
        chosen = {image.digest}
        top = walk.node(store, image.root) if image.root is not None else None
    else:
        roots = store.descriptors(wanted.name)
        top = walk.node(store, roots[0]) if roots else None
        chosen = {each.descriptor.digest for each in (top.below or (top,)) if each.complete} if top else set()
    if top is None or not chosen:
        raise IntegrityError("the store has no complete image of this name", where=wanted.name)
    nodes = tuple(each for each in top.every() if each.complete and isinstance(each.document.content, Manifest))
    named = {REF_NAME: wanted.called, _FULL_NAME: wanted.called}
    kept = tuple(each for each in nodes if each.descriptor.digest in chosen or _is_about(each, chosen))
    if len(kept) == 1:
        (only,) = kept
        described = only.descriptor.changed(annotations=named)
        return _Root(descriptor=described, made={}, nodes=kept)
    data = _pruned(top, kept)
    digest = Digest.of(data)
    described = Descriptor(media_type=OCI_INDEX, digest=digest, size=len(data), annotations=named)
    return _Root(descriptor=described, made={digest: data}, nodes=kept)


def _is_about(node: walk.Node, images: set[Digest]) -> bool:
    """Whether a manifest attests something about one of ``images``."""
    if not node.descriptor.is_attestation:
        return False
    subject = indexes.subject(node.descriptor.wire())
    return subject in {str(each) for each in images}


def _pruned(top: walk.Node, kept: Sequence[walk.Node]) -> bytes:
    """The index as it is when it names ``kept`` and nothing else, else one that does."""
    digests = {str(each.descriptor.digest) for each in kept}
    content = top.document.content
    if isinstance(content, Index) and {str(each.digest) for each in content.manifests} == digests:
        return top.document.data
    entries = indexes.entries(top.document.data) if isinstance(content, Index) else []
    listed = {each.get("digest"): each for each in entries}
    return indexes.encode([listed.get(str(each.descriptor.digest)) or each.descriptor.wire() for each in kept])


def _layout(store: Store, roots: Sequence[_Root]) -> Iterator[Entry]:
    yield file("oci-layout", _MARKER)
    yield file("index.json", indexes.encode([each.descriptor.wire() for each in roots]))
    made = {digest: data for each in roots for digest, data in each.made.items()}
    made |= {each.descriptor.digest: each.document.data for root in roots for each in root.nodes}
    blobs = {blob.digest: blob.size for root in roots for each in root.nodes for blob in each.blobs if store.has(blob)}
    yield directory("blobs")
    for algorithm in sorted({each.algorithm for each in (*made, *blobs)}):
        yield directory(f"blobs/{algorithm}")
    for digest in sorted({*made, *blobs}, key=str):
        path = f"blobs/{digest.algorithm}/{digest.hex}"
        if digest in made:
            yield file(path, made[digest])
        else:
            yield from _blob(store, path, digest, blobs[digest])


def _blob(store: Store, path: str, digest: Digest, size: int) -> Iterator[Entry]:
    with store.open_blob(digest) as stream:
        yield Entry(path=path, kind=Kind.FILE, size=size, data=stream)
        stream.read(1)  # the end, where the digest is compared


def _docker(store: Store, images: Sequence[Image], names: Sequence[str]) -> Iterator[Entry]:
    listed: list[dict[str, object]] = []
    written: set[str] = set()
    for image, name in zip(images, names, strict=True):
        content = store.read_manifest(Descriptor(media_type="", digest=image.digest, size=0))
        assert isinstance(content, Manifest), "an image's digest is its manifest's"
        config = f"{content.config.digest.hex}.json"
        paths = [_layer_path(each) for each in image.layers]
        for path, each in dict(zip(paths, image.layers, strict=True)).items():
            if path not in written:
                yield from _layer(store, path, each)
        if config not in written:
            yield file(config, store.read_blob(content.config.digest, MAX_CONFIG_BYTES))
        written |= {config, *paths}
        listed.append({"Config": config, "RepoTags": _tags(name), "Layers": paths})
    yield file("manifest.json", json.dumps(listed, separators=(",", ":")).encode())


def _layer_path(layer: Descriptor) -> str:
    if layer.media_type not in LAYER_TYPES:
        raise IntegrityError(f"layer of unknown type {layer.media_type[:160]!r}", where=str(layer.digest))
    return f"{layer.digest.hex}.tar{'.gz' if layer.media_type.endswith('gzip') else ''}"


def _layer(store: Store, path: str, layer: Descriptor) -> Iterator[Entry]:
    """The layer as it is, but unpacked when it is zstd, which old engines do not read."""
    if not layer.media_type.endswith("zstd"):
        yield from _blob(store, path, layer.digest, layer.size)
        return
    with TemporaryFile() as plain:
        with store.open_blob(layer.digest) as packed:
            for chunk in _chunks(decompress(packed, where=str(layer.digest))):
                plain.write(chunk)
            packed.read(1)
        size = plain.tell()
        plain.seek(0)
        yield Entry(path=path, kind=Kind.FILE, size=size, data=plain)


def _chunks(stream: BinaryIO) -> Iterable[bytes]:
    with stream:
        while chunk := stream.read(_CHUNK):
            yield chunk


def _tags(name: str) -> list[str]:
    """The name with a tag, as ``docker load`` wants it; none for a name that is a digest."""
    reference = Reference.parse(name)
    if reference.digest is not None or reference.transport is not None:
        return []
    return [str(reference) if reference.tag else f"{reference}:latest"]
