"""The image store: images by name in an OCI image layout, shared by parallel builds and with the original tool.

A name is an expanded reference. What is found is whole: an image whose blobs are not all here counts as absent, since
an index is kept as the registry sent it although only one platform's blobs were pulled.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from moby import log, unchanged
from moby.errors import IntegrityError, PlatformError
from moby.oci import blob, layout, lock
from moby.oci.digest import Digest, VerifiedReader
from moby.oci.image import Image
from moby.oci.layout import Layout
from moby.oci.manifest import (
    INDEX_TYPES,
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    REF_NAME,
    Descriptor,
    ImageConfig,
    Index,
    Manifest,
    Platform,
    decode,
)
from moby.oci.reference import Reference
from moby.oci.verified import Verified

_CHUNK = 1 << 20
_USERS = ".in-use"
_POLL_S = 0.2
_MAX_DEPTH = 3


class Store:
    """An OCI image layout at ``root``, made on first write. Safe to share between threads and processes.

    With the directory ``verified`` blobs that were found right are not hashed again until they change.
    """

    def __init__(self, root: Path, *, verified: Path | None = None) -> None:
        self.root = root
        self._layout = Layout(root)
        self._verified = Verified(verified) if verified else None

    def names(self) -> tuple[str, ...]:
        """Every image name, sorted."""
        return tuple(sorted({name for name, _ in self._layout.entries()}))

    def descriptors(self, name: str) -> tuple[Descriptor, ...]:
        """What ``index.json`` holds under exactly this name; other tools may keep several."""
        return tuple(descriptor for each, descriptor in self._layout.entries() if each == name)

    def roots(self) -> list[Descriptor]:
        """What ``index.json`` points at, named or not; the names are among the annotations."""
        return self._layout.every()

    def blobs(self) -> Iterator[tuple[Digest, int]]:
        """Every blob with its size in bytes, sorted."""
        for path in sorted((self.root / "blobs").glob("*/*")):
            with contextlib.suppress(IntegrityError, FileNotFoundError):
                yield Digest.parse(f"{path.parent.name}:{path.name}"), path.stat().st_size

    def delete(self, digest: Digest) -> None:
        """Remove a blob that nothing needs any more; the caller is ``alone``."""
        with blob.writing(self.root):
            self._path(digest).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete the layout's own files, and the directory when nothing else is in it; the caller is ``alone``."""
        with blob.writing(self.root):
            for name in ("index.json", "oci-layout", ".lock", _USERS):
                (self.root / name).unlink(missing_ok=True)
            for name in ("blobs", "ingest"):
                shutil.rmtree(self.root / name, ignore_errors=True)
            with contextlib.suppress(OSError):
                self.root.rmdir()

    def used_s(self, digest: Digest) -> float:
        """When what a name points at was last used, in seconds since 1970: the time stamp of its blob."""
        try:
            return self._path(digest).stat().st_mtime
        except OSError:
            return 0.0

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While this lasts, nobody deletes images: blobs that were found stay, those that come get their names."""
        with contextlib.suppress(PlatformError):  # where nothing can be written, nothing is deleted either
            self._layout.create()
        with lock.in_use(self.root / _USERS):
            yield

    @contextlib.contextmanager
    def alone(self, *, wait: bool = True) -> Iterator[bool]:
        """Keep others from using images, to delete some. False, unless ``wait``, when there are users."""
        self._layout.create()
        told = False
        while True:
            with lock.alone(self.root / _USERS) as free:
                if free or not wait:
                    if free:
                        blob.sweep(self.root, older_than_s=0)
                    yield free
                    return
            if not told:
                log.info(f"waiting for others who use {self.root}")
                told = True
            time.sleep(_POLL_S)

    def tag(self, name: str, descriptor: Descriptor) -> None:
        """Let ``name`` mean ``descriptor``, in place of what it meant before. Its blob must be here."""
        named = {**(descriptor.annotations or {}), REF_NAME: name}
        if self.descriptors(name) == (descriptor.changed(annotations=named),):
            return
        with self._layout.changing() as index:
            layout.put(index, name, descriptor)

    def untag(self, names: Collection[str]) -> None:
        """Forget all of ``names`` at once; their blobs stay."""
        if names:
            with self._layout.changing() as index:
                for name in names:
                    layout.drop(index, name)

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob is here with the right size. Content was checked on its way in."""
        try:
            return self._path(descriptor.digest).stat().st_size == descriptor.size
        except OSError:
            return False

    def open_blob(self, digest: Digest, *, check: bool = True) -> BinaryIO:
        """The blob, checked while it is read to its end, unless the caller just did that or it is known to be right.

        Raises ``IntegrityError`` when it is missing or altered.
        """
        path = self._path(digest)
        try:
            stream = path.open("rb")
        except FileNotFoundError as error:
            fix = "pull the image again"
            raise IntegrityError("blob is missing from the store", where=str(digest), fix=fix) from error
        if not check or (self._verified and self._verified.holds(digest, stream)):
            return stream
        return self._checked(stream, digest, path)

    def read_blob(self, digest: Digest, limit_bytes: int) -> bytes:
        """A small blob, checked, of at most ``limit_bytes``."""
        with self.open_blob(digest) as stream:
            data = stream.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise IntegrityError(f"larger than {limit_bytes} bytes", where=str(digest))
        return data

    def writer(self, expected: Descriptor | None = None, *, media_type: str = OCI_LAYER_GZIP) -> blob.Writer:
        """A new blob to be written piece by piece; see ``blob.Writer``."""
        self._layout.create()
        return blob.Writer(self.root, expected, media_type=media_type, verified=self._verified)

    def ingest(
        self, stream: BinaryIO, expected: Descriptor | None = None, *, media_type: str = OCI_LAYER_GZIP
    ) -> Descriptor:
        """Store what ``stream`` gives, and describe it.

        With ``expected`` its size and digest must match (``IntegrityError``); without, ``media_type`` says what it is.
        Raises ``PlatformError`` when the disk is full or not writable.
        """
        with self.writer(expected, media_type=media_type) as writer:
            while chunk := stream.read(_CHUNK):
                writer.write(chunk)
            return writer.commit()

    def put_blob(self, data: bytes, media_type: str) -> Descriptor:
        """Store ``data``."""
        return self.ingest(io.BytesIO(data), media_type=media_type)

    def find(self, reference: Reference, platform: Platform) -> Image | None:
        """The complete image for ``platform``, or None.

        A single manifest wins over an index of the same name, and is returned whatever its architecture when nothing
        fits better, as it is the only thing that name can mean. A digest is found whether or not it has a name.
        """
        found = self.meaning(reference, platform)
        return self._used(found[1], found[0]) if found else None

    def meaning(self, reference: Reference, platform: Platform) -> tuple[Descriptor, Image] | None:
        """As ``find``, with the manifest or index that the name points at."""
        other: tuple[Descriptor, Image] | None = None
        meanings = self._meanings(reference)
        for descriptor in sorted(meanings, key=lambda each: each.media_type in INDEX_TYPES):
            image = self._complete(reference, descriptor, platform, _MAX_DEPTH, set())
            if image is not None and platform.accepts(image.platform):
                return descriptor, image
            if image is not None and descriptor.media_type not in INDEX_TYPES:
                other = other or (descriptor, image)
        return other

    def below(self, reference: Reference, root: Descriptor, platform: Platform) -> Image | None:
        """The complete image for ``platform`` at or below ``root``, whatever its name; else the only one there is."""
        image = self._complete(reference, root, platform, _MAX_DEPTH, set())
        return self._used(image, root) if image is not None else None

    def put_image(self, name: str, config: bytes, layers: Sequence[Descriptor], platform: Platform) -> Image:
        """Name an image made of stored ``layers`` (bottom first) and the JSON ``config``.

        It becomes ``platform``'s entry in the index of that name; entries of other platforms stay.
        """
        reference = Reference.parse(name)
        parsed = ImageConfig.decode(config, where=name)
        manifest = Manifest(config=self.put_blob(config, OCI_CONFIG), layers=tuple(layers))
        stored = self.put_blob(manifest.encode(), OCI_MANIFEST)
        entry = stored.changed(platform=platform)
        with self._layout.changing() as root:
            known = [each for other, each in layout.listed(root) if other == name]
            others = [each for each in self._siblings(known) if each.platform != platform]
            merged = sorted([*others, entry], key=lambda each: str(each.platform))
            layout.put(root, name, self.put_blob(Index(manifests=tuple(merged)).encode(), OCI_INDEX))
        return Image(
            reference=reference, digest=stored.digest, platform=platform, config=parsed, layers=manifest.layers
        )

    def change(self, name: str, decide: Callable[[Sequence[Descriptor]], Descriptor]) -> None:
        """Let ``name`` mean what ``decide`` makes of what it means now, with nobody changing it in between."""
        with self._layout.changing() as root:
            known = [descriptor for other, descriptor in layout.listed(root) if other == name]
            layout.put(root, name, decide(known))

    def change_index(self, name: str, change: Callable[[Index], Index]) -> None:
        """Let ``name`` mean what ``change`` makes of the index that it means now; nothing when it means none."""
        with self._layout.changing() as root:
            for known, descriptor in layout.listed(root):
                document = self.read_manifest(descriptor) if known == name and self.has(descriptor) else None
                if isinstance(document, Index):
                    layout.put(root, name, self.put_blob(change(document).encode(), OCI_INDEX))

    def read_manifest(self, descriptor: Descriptor) -> Manifest | Index:
        """The manifest or index that ``descriptor`` points at. Raises ``IntegrityError``."""
        data = self.read_blob(descriptor.digest, MAX_MANIFEST_BYTES)
        return decode(data, descriptor.media_type, where=str(descriptor.digest))

    def read_config(self, manifest: Manifest) -> ImageConfig:
        """The configuration of an image. Raises ``IntegrityError``."""
        digest = manifest.config.digest
        return ImageConfig.decode(self.read_blob(digest, MAX_CONFIG_BYTES), where=str(digest))

    def _checked(self, stream: BinaryIO, digest: Digest, path: Path) -> BinaryIO:
        reader = VerifiedReader(
            stream,
            digest,
            os.fstat(stream.fileno()).st_size,
            where=str(path),
            fix="delete this file and pull the image again",
            verified=self._verified.reader(digest, stream) if self._verified else None,
        )
        return io.BufferedReader(reader, _CHUNK)

    def _used(self, image: Image, root: Descriptor) -> Image:
        """Note that the image is used: its root's time stamp is our record, as access times are often turned off."""
        with contextlib.suppress(OSError):  # somebody else's store
            os.utime(self._path(root.digest))
            unchanged.inputs().touch(self._path(root.digest))
        return replace(image, root=root)

    def _siblings(self, known: Sequence[Descriptor]) -> list[Descriptor]:
        """The manifests of one name, each with its platform."""
        found: list[Descriptor] = []
        for descriptor in filter(self.has, known):
            document = self.read_manifest(descriptor)
            if isinstance(document, Index):
                found += document.manifests
            else:
                platform = self.read_config(document).platform
                found.append(descriptor.changed(platform=platform, annotations=None))
        return found

    def _meanings(self, reference: Reference) -> list[Descriptor]:
        """What the reference may point at, best first."""
        named = self._layout.entries()
        found = [each for name in reference.names for known, each in named if known == name]
        if reference.digest is None:
            return found
        found = [each for each in found if each.digest == reference.digest]
        found += [each for _, each in named if each.digest == reference.digest]
        return found or self._unnamed_manifest(reference.digest)

    def _unnamed_manifest(self, digest: Digest) -> list[Descriptor]:
        """The descriptor of a manifest that ``index.json`` does not list, such as an index's child."""
        path = self._path(digest)
        if not path.is_file() or path.stat().st_size > MAX_MANIFEST_BYTES:
            return []
        media_type = decode(self.read_blob(digest, MAX_MANIFEST_BYTES), "", where=str(digest)).media_type
        return [Descriptor(media_type=media_type, digest=digest, size=path.stat().st_size)]

    def _complete(
        self, reference: Reference, descriptor: Descriptor, platform: Platform, depth: int, seen: set[Digest]
    ) -> Image | None:
        """The image below ``descriptor`` when every blob of it is here.

        Indexes nest at most ``depth`` deep, and each manifest is looked at once.
        """
        if descriptor.digest in seen or not self.has(descriptor):
            return None
        seen.add(descriptor.digest)
        document = self.read_manifest(descriptor)
        if isinstance(document, Manifest):
            return self._image(reference, descriptor, document)
        for each in document.candidates(platform) if depth else ():
            image = self._complete(reference, each, platform, depth - 1, seen)
            if image is not None and platform.accepts(image.platform):
                return image
        return None

    def _image(self, reference: Reference, descriptor: Descriptor, manifest: Manifest) -> Image | None:
        """The image, for the platform that its index says; configurations are often wrong about it."""
        if not all(self.has(each) for each in (manifest.config, *manifest.layers)):
            return None
        config = self.read_config(manifest)
        return Image(
            reference=reference,
            digest=descriptor.digest,
            platform=descriptor.platform or config.platform,
            config=config,
            layers=manifest.layers,
        )

    def _path(self, digest: Digest) -> Path:
        return blob.path(self.root, digest)
