"""Images in files: an OCI layout as a directory or an archive, and what ``docker save`` writes.

Source: OCI image specification 1.1, "Image Layout"; the Docker image specification 1.2, "Combined Image JSON +
Filesystem Changeset Format" (``manifest.json``).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, BinaryIO

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from moby import log
from moby.errors import ConfigError, IntegrityError, RegistryError
from moby.oci import archive, blob, layout
from moby.oci.archive import Contents
from moby.oci.digest import Digest
from moby.oci.document import Document, checked
from moby.oci.image import Image
from moby.oci.manifest import (
    INDEX_TYPES,
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER,
    OCI_MANIFEST,
    REF_NAME,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
)
from moby.oci.pull import Pull
from moby.oci.reference import Reference, Transport
from moby.oci.store import Store

# The whole name, where containerd and Docker wrote the layout; their REF_NAME is the tag alone.
_FULL_NAME = "io.containerd.image.name"
_MAX_LISTED = 12
# The annotation that says which state of a file or an engine's image was copied.
SOURCE = "org.mobyproject.moby.source"


class Entry(BaseModel):
    """One image of Docker's ``manifest.json``."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    config: str = Field(alias="Config")
    tags: Annotated[tuple[str, ...], BeforeValidator(lambda value: value or ())] = Field((), alias="RepoTags")
    layers: Annotated[tuple[str, ...], BeforeValidator(lambda value: value or ())] = Field((), alias="Layers")


_ENTRIES = TypeAdapter(tuple[Entry, ...])


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An image of a file: ``names`` it is known by there, which may be none, and the manifest or index it is.

    ``aliases`` of its names mean the same one, so that it has only the first when it is imported.
    """

    names: tuple[str, ...]
    descriptor: Descriptor
    aliases: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The images of a layout. ``root`` is its directory; without, its blobs are in ``store`` already.

    Implements ``pull.Place``; ``where`` names it in messages.
    """

    images: tuple[Named, ...]
    where: str
    store: Store
    root: Path | None = None

    def url(self, kind: str, name: str) -> str:
        """The place of a blob, for messages."""
        return f"{self.where} ({name})"

    def manifest(self, locator: str, *, digest: Digest | None = None) -> Document:
        """The manifest or index of a name, ``""`` for the only one there is, or of a digest."""
        found = [each.descriptor for each in self.images if _is(each, locator, digest)]
        if digest is not None and not found:
            found = self._unlisted(digest)
        if not found:
            listed = ", ".join(name for each in self.images for name in each.names[:1])[:500]
            raise RegistryError(f"it holds no {locator!r}", where=self.where, fix=listed and f"it holds {listed}")
        if len({each.digest for each in found}) == 1:
            return self.child(found[0])
        if not locator and len({each.names for each in self.images}) > 1:
            listed = ", ".join(name for each in self.images[:_MAX_LISTED] for name in each.names[:1])
            raise RegistryError("it holds several images", where=self.where, fix=f"name one of {listed}")
        # One name, an image for each platform: as an index would have them.
        data = Index(manifests=tuple(found)).encode()
        descriptor = Descriptor(media_type=OCI_INDEX, digest=Digest.of(data), size=len(data))
        return checked(data, descriptor, where=self.where)

    def child(self, descriptor: Descriptor) -> Document:
        """A manifest of the layout, checked. Raises ``IntegrityError``."""
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise IntegrityError(f"manifest of {descriptor.size} bytes announced", where=self.where)
        with self._open(descriptor) as stream:
            data = stream.read(descriptor.size + 1)
        return checked(data, descriptor, where=self.url("manifests", str(descriptor.digest)))

    def fetch(self, blobs: Sequence[Descriptor], store: Store) -> None:
        """Copy ``blobs`` into ``store``, checked, as far as it lacks them."""
        for each in blobs:
            if not store.has(each):
                with self._open(each) as stream, _named(self.url("blobs", str(each.digest))):
                    store.ingest(stream, each)

    @contextlib.contextmanager
    def _open(self, descriptor: Descriptor) -> Iterator[BinaryIO]:
        if self.root is None:
            with self.store.open_blob(descriptor.digest) as stream:
                yield stream
            return
        try:
            stream = blob.path(self.root, descriptor.digest).open("rb")
        except OSError as error:
            where = self.url("blobs", str(descriptor.digest))
            raise RegistryError(f"the layout lacks a blob: {error.strerror}", where=where) from error
        with stream:
            yield stream

    def _unlisted(self, digest: Digest) -> list[Descriptor]:
        """The descriptor that an index of the layout has for a digest."""
        below: list[Descriptor] = []
        for each in self.images:
            if each.descriptor.media_type in INDEX_TYPES:
                content = self.child(each.descriptor).content
                below += content.manifests if isinstance(content, Index) else ()
        return [each for each in below if each.digest == digest][:1]


def layout_of(path: Path, store: Store) -> Layout:
    """The layout in a directory. Raises ``ConfigError`` when there is none."""
    index = path / "index.json"
    try:
        if index.stat().st_size > layout.MAX_INDEX_BYTES:
            raise IntegrityError("index.json is too large", where=str(path))
        data = index.read_bytes()
    except OSError as error:
        fix = "give a directory with oci-layout and index.json"
        raise ConfigError(f"not an OCI image layout: {error.strerror}", where=str(path), fix=fix) from error
    return Layout(images=_images(data, str(path)), where=str(path), store=store, root=path)


def images_of(contents: Contents, store: Store) -> Layout:
    """The images of an archive of either kind, whose blobs are in ``store`` now. Raises ``IntegrityError``."""
    if "index.json" in contents.documents and "oci-layout" in contents.documents:
        images = _images(contents.documents["index.json"], contents.where)
    elif "manifest.json" in contents.documents:
        images = docker_images(contents, store)
    else:
        fix = "give what docker save, podman save, skopeo or moby cache export wrote"
        raise IntegrityError("an archive of no images", where=contents.where, fix=fix)
    return Layout(images=images, where=contents.where, store=store)


def docker_images(contents: Contents, store: Store) -> tuple[Named, ...]:
    """The images that ``manifest.json`` lists; their manifests are made here and put into ``store``."""
    try:
        listed = _ENTRIES.validate_json(contents.documents.get("manifest.json", b""))
    except ValidationError as error:
        raise IntegrityError("manifest.json is not what docker save writes", where=contents.where) from error
    return tuple(Named(names=each.tags, descriptor=_docker_image(each, contents, store)) for each in listed)


def _docker_image(entry: Entry, contents: Contents, store: Store) -> Descriptor:
    stored = contents.blob(entry.config)
    data = store.read_blob(stored.digest, MAX_CONFIG_BYTES)
    config = ImageConfig.decode(data, where=f"{contents.where}: {entry.config}")
    layers = tuple(contents.blob(each) for each in entry.layers)
    if len(layers) != len(config.diff_ids):
        what = f"{len(layers)} layers, but its configuration has {len(config.diff_ids)}"
        raise IntegrityError(what, where=f"{contents.where}: {entry.config}")
    for layer, diff_id in zip(layers, config.diff_ids, strict=True):
        if layer.media_type == OCI_LAYER and layer.digest != diff_id:
            raise IntegrityError(f"expected layer {diff_id}, got {layer.digest}", where=contents.where)
    described = Descriptor(media_type=OCI_CONFIG, digest=stored.digest, size=stored.size)
    manifest = store.put_blob(Manifest(config=described, layers=layers).encode(), OCI_MANIFEST)
    return manifest.changed(platform=config.platform)


def image(reference: Reference, platform: Platform, store: Store) -> Image:
    """The image of a reference with a transport, copied into ``store`` as far as that lacks it.

    Raises ``ConfigError`` when the file cannot be read, ``RegistryError`` when it does not hold the image, and
    ``IntegrityError`` when it is damaged.
    """
    path = Path(reference.repository)
    name = stored_name(reference)
    if reference.transport is Transport.OCI:
        place = layout_of(path, store)
        return Pull(place=place, reference=reference, platform=platform, store=store, name=name).run()
    state = stamp(path)
    found = kept(store, name, reference, platform, state)
    if found is not None:
        return found
    with log.step(f"Reading {path}"):
        place = archived(path, store, docker=reference.transport is Transport.DOCKER_ARCHIVE)
        notes = {SOURCE: state}
        return Pull(place=place, reference=reference, platform=platform, store=store, name=name, notes=notes).run()


def kept(store: Store, name: str, reference: Reference, platform: Platform, state: str) -> Image | None:
    """The image that was copied as ``name`` when its source was in ``state``; None when there is none."""
    for descriptor in store.descriptors(name):
        if (descriptor.annotations or {}).get(SOURCE) == state:
            found = store.below(reference, descriptor, platform)
            if found is not None and reference.digest in (None, descriptor.digest, found.digest):
                return found
    return None


def archived(path: Path, store: Store, *, docker: bool = False) -> Layout:
    """The images of an archive, their blobs copied. With ``docker``, those of its ``manifest.json`` in any case.

    Raises ``ConfigError`` when it cannot be read, ``IntegrityError`` when it is damaged.
    """
    with open_file(path) as stream:
        contents = archive.read(store, stream, where=str(path))
    if docker:
        return Layout(images=docker_images(contents, store), where=str(path), store=store)
    return images_of(contents, store)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """The file, for reading. Raises ``ConfigError`` that names it."""
    try:
        stream = path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", where=str(path), fix="check the path") from error
    with stream:
        yield stream


def stamp(path: Path) -> str:
    """What changes when a file does. Raises ``ConfigError``."""
    try:
        found = path.stat()
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", where=str(path), fix="check the path") from error
    return f"{found.st_dev}-{found.st_ino}-{found.st_size}-{found.st_mtime_ns}"


def stored_name(reference: Reference) -> str:
    """The name in the store of an image from a file: with the file's whole path, which a reference need not have."""
    tag = f":{reference.tag}" if reference.tag else ""
    return f"{reference.transport}:{os.path.abspath(reference.repository)}{tag}"  # noqa: PTH100 - links stay as written


def _images(index: bytes, where: str) -> tuple[Named, ...]:
    try:
        entries = json.loads(index).get("manifests") or []
        descriptors = [Descriptor.read(each) for each in entries]
    except (ValueError, AttributeError, TypeError, RecursionError) as error:
        raise IntegrityError("index.json is not an image index", where=where) from error
    return tuple(
        Named(names=_names(each), descriptor=each, aliases=True) for each in descriptors if not each.is_attestation
    )


def _names(descriptor: Descriptor) -> tuple[str, ...]:
    annotations = descriptor.annotations or {}
    return tuple(dict.fromkeys(annotations[key] for key in (_FULL_NAME, REF_NAME) if annotations.get(key)))


def _is(image: Named, locator: str, digest: Digest | None) -> bool:
    """Whether an image is meant: by its digest, by a name as written or as references spell it; ``""`` means any."""
    if digest is not None:
        return image.descriptor.digest == digest
    if not locator or locator in image.names:
        return True
    return any(_expanded(name) == _expanded(locator) for name in image.names)


def _expanded(name: str) -> str:
    try:
        return Reference.parse(name).expanded
    except ConfigError:
        return name


@contextlib.contextmanager
def _named(where: str) -> Iterator[None]:
    """Errors from the block say where they happened."""
    try:
        yield
    except (IntegrityError, RegistryError) as error:
        raise type(error)(error.what, where=where, fix=error.fix) from error
