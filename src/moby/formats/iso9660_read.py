"""Reads ISO 9660 images: the entries, by their Rock Ridge names where there are any, and what holds of a good image.

Everything is bounded and checked: places must lie within the volume, a directory is visited once.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats import eltorito
from moby.formats import iso9660_rockridge as rock_ridge
from moby.formats.entry import Entry, Kind
from moby.formats.iso9660_records import (
    DIRECTORY,
    MAGIC,
    MULTI_EXTENT,
    PARENT,
    RECORD_BYTES,
    SECTOR,
    SELF,
    SYSTEM_AREA,
    unboth32,
    unshort_time,
)
from moby.formats.stream import SMALL_BYTES

MAX_ENTRIES = 1_000_000
_MAX_DESCRIPTORS = 32
_MAX_AREA_BYTES = 64 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A directory record. ``sections`` are places and lengths of its data in bytes."""

    identifier: bytes
    directory: bool
    sections: tuple[tuple[int, int], ...]
    mtime_s: int
    system_use: bytes

    @property
    def sector(self) -> int:
        """Where its first section is."""
        return self.sections[0][0] // SECTOR

    @property
    def size(self) -> int:
        """The length of its data in bytes."""
        return sum(length for _, length in self.sections)


@dataclass(frozen=True, slots=True, kw_only=True)
class Descriptor:
    """What a primary or Joliet descriptor says; sizes in bytes, but ``sectors``."""

    joliet: bool
    name: str
    sectors: int
    table_size: int
    table_little: int
    table_big: int
    root: Record
    identity: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file or directory and its path."""

    path: str
    record: Record
    attributes: rock_ridge.Attributes | None


class Image:
    """An image in a seekable stream. Raises ``IntegrityError`` for what is not one, here and in every method."""

    def __init__(self, stream: BinaryIO, *, where: str = "") -> None:
        self._stream = stream
        self._where = where
        self.size = stream.seek(0, io.SEEK_END)
        self.descriptors: tuple[Descriptor, ...] = ()
        self.boot: tuple[eltorito.Extent, ...] = ()
        self._read_descriptors()

    @property
    def primary(self) -> Descriptor:
        """The primary volume descriptor."""
        return self.descriptors[0]

    def fail(self, what: str, path: str = "") -> IntegrityError:
        """An error that names the image and the file at hand."""
        return IntegrityError(what, where=": ".join(part for part in (self._where, path) if part))

    def fetch(self, sector: int, offset: int, size: int) -> bytes:
        """``size`` bytes from ``offset`` of a sector on."""
        if size > _MAX_AREA_BYTES or sector * SECTOR + offset + size > self.size:
            raise self.fail(f"{size} bytes at sector {sector} are not in the image")
        self._stream.seek(sector * SECTOR + offset)
        data = self._stream.read(size)
        if len(data) != size:
            raise self.fail(f"the image is truncated at sector {sector}")
        return data

    def records(self, directory: Record) -> Iterator[Record]:
        """The records of a directory, ``.`` and ``..`` first; the sections of a file as one."""
        data = self.fetch(directory.sector, 0, directory.size)
        at, earlier = 0, None
        while at < len(data):
            length = data[at]
            if not length:
                at += SECTOR - at % SECTOR
                continue
            if length < RECORD_BYTES + 1 or at % SECTOR + length > SECTOR or at + length > len(data):
                raise self.fail(f"a directory record of {length} bytes at byte {at} of sector {directory.sector}")
            record, more = self._record(data[at : at + length], earlier)
            at += length
            earlier = record if more else None
            if not more:
                yield record
        if earlier is not None:
            raise self.fail("the last section of a file is missing")

    def walk(self, descriptor: Descriptor) -> Iterator[Found]:
        """All files and directories, the root's own first, with an empty path; a directory before what it holds."""
        todo = [Found(path="", record=descriptor.root, attributes=None)]
        seen: set[int] = set()
        count = 0
        while todo:
            found = todo.pop()
            yield found
            if not found.record.directory:
                continue
            if found.record.sector in seen:
                raise self.fail("a directory is inside itself", found.path)
            seen.add(found.record.sector)
            below = []
            for record in self.records(found.record):
                count += 1
                if count > MAX_ENTRIES:
                    raise self.fail(f"more than {MAX_ENTRIES} files")
                if record.identifier not in (SELF, PARENT):
                    below.append(self._found(found.path, record, descriptor))
            todo += reversed(below)

    def open(self, record: Record) -> BinaryIO:
        """The data of a file."""
        return cast(BinaryIO, io.BufferedReader(_Body(self, record.sections)))

    def _read_descriptors(self) -> None:
        for number in range(_MAX_DESCRIPTORS):
            data = self.fetch(SYSTEM_AREA + number, 0, SECTOR)
            if data[1:6] != MAGIC:
                raise self.fail("not an ISO 9660 image")
            if data[0] == 255:
                break
            if data[0] == 0 and data[7:30] == b"EL TORITO SPECIFICATION":
                self.boot = eltorito.read_catalog(self.fetch(struct.unpack_from("<I", data, 71)[0], 0, SECTOR))
            elif data[0] == 1 or (data[0] == 2 and data[88:91] in (b"%/@", b"%/C", b"%/E")):
                self.descriptors += (self._descriptor(data),)
        else:
            raise self.fail("the volume descriptors have no end")
        if not self.descriptors or self.descriptors[0].joliet:
            raise self.fail("there is no primary volume descriptor")

    def _descriptor(self, data: bytes) -> Descriptor:
        if data[128:132] != b"\x00\x08\x08\x00":
            raise self.fail("blocks are not of 2048 bytes")
        joliet = data[0] == 2
        root, more = self._record(data[156:190], None)
        if not root.directory or more:
            raise self.fail("the root is no directory")
        return Descriptor(
            joliet=joliet,
            name=data[40:72].decode("utf-16-be" if joliet else "latin-1", "replace").rstrip(" \0"),
            sectors=unboth32(data, 80),
            table_size=unboth32(data, 132),
            table_little=struct.unpack_from("<I", data, 140)[0],
            table_big=struct.unpack_from(">I", data, 148)[0],
            root=root,
            identity=data[830:846].decode("latin-1"),
        )

    def _record(self, data: bytes, earlier: Record | None) -> tuple[Record, bool]:
        """One record, joined to the ``earlier`` section of its file; whether another section follows."""
        length, flags = data[32], data[25]
        identifier = data[RECORD_BYTES : RECORD_BYTES + length]
        head = RECORD_BYTES + length + (length + 1) % 2
        sector, size = unboth32(data, 2), unboth32(data, 10)
        if RECORD_BYTES + length > len(data) or sector * SECTOR + size > self.size:
            raise self.fail("a directory record points outside of the image")
        if earlier is not None and earlier.identifier != identifier:
            raise self.fail("the sections of a file are not together")
        before = earlier.sections if earlier is not None else ()
        record = Record(
            identifier=identifier,
            directory=bool(flags & DIRECTORY),
            sections=(*before, (sector * SECTOR, size)),
            mtime_s=unshort_time(data[18:25]),
            system_use=data[head:],
        )
        return record, bool(flags & MULTI_EXTENT)

    def _found(self, parent: str, record: Record, descriptor: Descriptor) -> Found:
        """``record`` with its name: from Rock Ridge, else the identifier as Linux shows it."""
        parsed = None if descriptor.joliet else rock_ridge.parse(record.system_use, self.fetch)
        name, attributes = parsed or (b"", None)
        text = name.decode("utf-8", "surrogateescape")
        if not text and descriptor.joliet:
            text = record.identifier.decode("utf-16-be", "replace")
        elif not text:
            text = record.identifier.decode("latin-1").partition(";")[0].rstrip(".").lower()
        if text in ("", ".", "..") or "/" in text or "\0" in text:
            raise self.fail(f"{text!r} is not the name of a file", parent)
        return Found(path=f"{parent}/{text}" if parent else text, record=record, attributes=attributes)


class _Body(io.RawIOBase):
    """The sections of a file as one stream."""

    def __init__(self, image: Image, sections: tuple[tuple[int, int], ...]) -> None:
        super().__init__()
        self._image = image
        self._left = list(sections)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from one section; 0 at the end."""
        while self._left:
            at, length = self._left[0]
            if length:
                count = min(length, len(buffer), SMALL_BYTES)
                buffer[:count] = self._image.fetch(at // SECTOR, at % SECTOR, count)
                self._left[0] = (at + count, length - count)
                return count
            self._left.pop(0)
        return 0


def read(stream: BinaryIO, *, where: str = "") -> Iterator[Entry]:
    """The entries of an image, without its root's. Raises ``IntegrityError`` when it is damaged.

    Without Rock Ridge, files are 0444 and directories 0555, owned by root, names in small letters.
    """
    image = Image(stream, where=where)
    first: dict[int, str] = {}
    for found in image.walk(image.primary):
        if found.path:
            yield _entry(image, found, first)


def _entry(image: Image, found: Found, first: dict[int, str]) -> Entry:
    """One entry; ``first`` are the paths of files with several names, by serial number."""
    record, said = found.record, found.attributes
    if said is None:
        kind = Kind.DIRECTORY if record.directory else Kind.FILE
        mode = 0o555 if record.directory else 0o444
        said = rock_ridge.Attributes(kind=kind, mode=mode, uid=0, gid=0, mtime_s=record.mtime_s)
    if record.directory != (said.kind is Kind.DIRECTORY):
        raise image.fail("a directory and something else at once", found.path)
    common = dict(path=found.path, mode=said.mode, uid=said.uid, gid=said.gid, mtime_s=said.mtime_s)
    kind, target, size, links = said.kind, said.target, 0, 1
    data: bytes | BinaryIO = b""
    if said.links > 1 and said.serial and kind is not Kind.DIRECTORY:
        target = first.setdefault(said.serial, found.path)
        kind, target = (Kind.HARDLINK, target) if target != found.path else (kind, said.target)
        links = said.links if kind is Kind.FILE else 1
    if kind is Kind.FILE:
        size = record.size
        data = image.open(record) if size > SMALL_BYTES else image.open(record).read()
    return Entry(
        **cast(Any, common),
        kind=kind,
        target=target,
        size=size,
        links=links,
        data=data,
        major=said.major,
        minor=said.minor,
    )
