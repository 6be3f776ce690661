"""A tar file of images, read once from its first byte to its last: every blob goes into the store as it passes.

One pass, because the file may be compressed or standard input, and because a Docker archive says only at its end what
its files are. The documents that say how they belong together are given beside.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats import tar
from moby.formats.compress import decompress
from moby.formats.entry import Entry, Kind
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_LAYER, OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Descriptor
from moby.oci.store import Store

_MAGIC = {b"\x1f\x8b": OCI_LAYER_GZIP, b"\x28\xb5": OCI_LAYER_ZSTD}
_MAX_DOCUMENT_BYTES = 8 << 20
_MAX_FILES = 100_000
_DOCUMENTS = frozenset(("index.json", "manifest.json", "oci-layout"))
# What Docker's archives of old hold beside each layer, of no use.
_IGNORED = frozenset(("json", "VERSION", "repositories"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What an archive held, by path: ``blobs`` are now in the store, ``documents`` are ``index.json`` and the like."""

    blobs: Mapping[str, Descriptor]
    documents: Mapping[str, bytes]
    where: str

    def blob(self, path: str) -> Descriptor:
        """The descriptor of a file. Raises ``IntegrityError`` when the archive has none of this name."""
        try:
            return self.blobs[posixpath.normpath(path)]
        except KeyError as error:
            raise IntegrityError(f"the archive names {path[:200]!r}, but does not hold it", where=self.where) from error


def read(store: Store, stream: BinaryIO, *, where: str) -> Contents:
    """Everything in the archive, which may be compressed. Raises ``IntegrityError`` with the entry's name."""
    reading = _Reading(store, where)
    plain = decompress(stream, where=where)
    try:
        for entry in tar.read(plain, limits=tar.Limits(entries=_MAX_FILES), where=where):
            reading.take(entry)
    finally:
        plain.close()
    return reading.contents()


class _Reading:
    def __init__(self, store: Store, where: str) -> None:
        self._store = store
        self._where = where
        self._blobs: dict[str, Descriptor] = {}
        self._documents: dict[str, bytes] = {}
        self._links: dict[str, str] = {}

    def take(self, entry: Entry) -> None:
        name = posixpath.basename(entry.path)
        if entry.kind in (Kind.SYMLINK, Kind.HARDLINK):
            # Docker's archives of old have a layer that comes twice as a link.
            above = posixpath.dirname(entry.path) if entry.kind is Kind.SYMLINK else ""
            self._links[entry.path] = posixpath.normpath(posixpath.join(above, entry.target))
        elif entry.kind is Kind.FILE and name not in _IGNORED:
            self._file(entry)

    def contents(self) -> Contents:
        found = {path: self._blobs[target] for path, target in self._links.items() if target in self._blobs}
        return Contents(blobs={**self._blobs, **found}, documents=self._documents, where=self._where)

    def _file(self, entry: Entry) -> None:
        stream = BytesIO(entry.data) if isinstance(entry.data, bytes) else entry.data
        if entry.path in _DOCUMENTS:
            self._documents[entry.path] = self._document(entry, stream)
            return
        start = stream.read(2)
        kind = _MAGIC.get(start, OCI_LAYER)
        expected = self._expected(entry, kind)
        if expected is not None and self._store.has(expected):
            self._blobs[entry.path] = expected
            return
        whole = cast(BinaryIO, _Joined(start, stream))
        try:
            self._blobs[entry.path] = self._store.ingest(whole, expected, media_type=kind)
        except IntegrityError as error:
            raise IntegrityError(error.what, where=f"{self._where}: {entry.path}", fix=error.fix) from error

    def _document(self, entry: Entry, stream: BinaryIO) -> bytes:
        if entry.size > _MAX_DOCUMENT_BYTES:
            raise IntegrityError(f"JSON of {entry.size} bytes is too large", where=f"{self._where}: {entry.path}")
        return stream.read(entry.size)

    def _expected(self, entry: Entry, kind: str) -> Descriptor | None:
        """What a file in an image layout must be, as its name says."""
        folder, _, rest = entry.path.partition("/")
        if folder != "blobs":
            return None
        try:
            digest = Digest.parse(rest.replace("/", ":", 1))
        except IntegrityError as error:
            raise IntegrityError(error.what, where=f"{self._where}: {entry.path}") from error
        return Descriptor(media_type=kind, digest=digest, size=entry.size)


class _Joined:
    """``start``, then the rest of ``stream``."""

    def __init__(self, start: bytes, stream: BinaryIO) -> None:
        self._start = start
        self._stream = stream

    def read(self, size: int) -> bytes:
        if self._start:
            data, self._start = self._start, b""
            return data
        return self._stream.read(size)
