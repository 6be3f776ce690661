"""Reading FAT file systems, and checking that they are sound. Whatever is read is taken to be hostile.

Source: Microsoft FAT specification of 2005-08-30 ("fatgen"), whose chapters the comments name.
"""

from __future__ import annotations

import datetime
import io
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats import fatnames, sparse
from moby.formats.entry import Entry, Kind
from moby.formats.fat import (
    BACKUP_SECTOR,
    BPB,
    DIRECTORY,
    ENTRY,
    HEAD32,
    INFO,
    INFO_SECTOR,
    INFO_SIGNATURES,
    LABEL,
    MAX_DIRECTORY_BYTES,
    TAIL16,
)
from moby.formats.fatgeometry import FATS, SECTOR_BYTES, Geometry, kind_of
from moby.formats.fatgeometry import Kind as Bits
from moby.formats.fatnames import ENTRY_BYTES, LAST_LONG, LONG_ATTRIBUTE, LONG_ENTRY

_PAGE_BYTES = 3 << 16  # a whole number of entries of any kind
_ENDS = {Bits.FAT12: 0xFF8, Bits.FAT16: 0xFFF8, Bits.FAT32: 0x0FFFFFF8}
_MAX_DEPTH = 128
_LOWER_BASE, _LOWER_EXTENSION = 0x08, 0x10


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file or directory: its entry's 8.3 name, chain and size as they stand in its directory."""

    path: str
    short: bytes
    directory: bool
    cluster: int
    size: int
    mtime_s: int


class FileSystem:
    """A file system that starts at ``offset`` in a seekable ``disk``. Raises ``IntegrityError`` when it is none."""

    def __init__(self, disk: BinaryIO, *, offset: int = 0) -> None:
        self._disk = disk
        self._offset = offset
        self._page_at = -1
        self._page = b""
        boot = self._bytes(0, SECTOR_BYTES)
        self.geometry, self.root_cluster, tail = _parse(boot)
        _, _, _, self.number, label, _ = TAIL16.unpack_from(boot, tail)
        self.label = label.decode("latin-1").rstrip(" ")

    def entries(self) -> Iterator[Entry]:
        """All files and directories in the order of their directories. A stream is valid until the next is taken.

        Raises ``IntegrityError`` where a chain or an entry makes no sense.
        """
        for found in self.walk():
            data = b"" if found.directory else cast(BinaryIO, io.BufferedReader(_Body(self, found)))
            yield Entry(
                path=found.path,
                kind=Kind.DIRECTORY if found.directory else Kind.FILE,
                mode=0o755 if found.directory else 0o644,
                mtime_s=found.mtime_s,
                size=found.size,
                data=data,
            )

    def walk(self, seen: _Clusters | None = None) -> Iterator[Found]:
        """All there is, a directory before what it holds; ``seen`` learns the clusters of directories."""
        seen = seen or _Clusters(self.geometry.clusters)
        left = [Found(path="", short=b"", directory=True, cluster=self.root_cluster, size=0, mtime_s=0)]
        while left:
            folder = left.pop()
            if folder.path:
                yield folder
            if folder.path.count("/") > _MAX_DEPTH:
                raise IntegrityError(f"more than {_MAX_DEPTH} directories in each other", where=folder.path)
            below = list(_parse_directory(self._directory(folder, seen), folder))
            yield from (each for each in below if not each.directory)
            left += reversed([each for each in below if each.directory])

    def chain(self, first: int, where: str) -> Iterator[int]:
        """The clusters of a file or directory; they may be without end."""
        cluster, end = first, _ENDS[self.geometry.kind]
        while cluster < end:
            if not 2 <= cluster < self.geometry.clusters + 2:
                raise IntegrityError(f"a chain leads to cluster {cluster}, which is none", where=where)
            yield cluster
            cluster = self.link(cluster)

    def link(self, cluster: int) -> int:
        """What the allocation table says of a cluster (4)."""
        kind = self.geometry.kind
        at = cluster * kind // 8
        page = at // _PAGE_BYTES
        if page != self._page_at:
            rest = self.geometry.fat_sectors * SECTOR_BYTES - page * _PAGE_BYTES
            self._page_at, self._page = page, b""
            # One byte more: an entry of 12 bits may end in the next page.
            self._page = self._bytes(self.geometry.fat_offset(0) + page * _PAGE_BYTES, min(_PAGE_BYTES + 1, rest))
        raw = int.from_bytes(self._page[at % _PAGE_BYTES : at % _PAGE_BYTES + (kind + 7) // 8], "little")
        if kind is Bits.FAT12:
            return raw >> 4 if cluster % 2 else raw & 0xFFF
        return raw & 0x0FFFFFFF

    def read(self, cluster: int) -> bytes:
        """The bytes of a cluster."""
        return self._bytes(self.geometry.offset(cluster), self.geometry.cluster_bytes)

    def _directory(self, folder: Found, seen: _Clusters) -> bytes:
        if not folder.path and self.geometry.root_entries:
            return self._bytes(self.geometry.root_offset, self.geometry.root_entries * ENTRY_BYTES)
        parts: list[bytes] = []
        for cluster in self.chain(folder.cluster, folder.path):
            seen.add(cluster, folder.path)
            parts.append(self.read(cluster))
            if len(parts) * self.geometry.cluster_bytes > MAX_DIRECTORY_BYTES + self.geometry.cluster_bytes:
                raise IntegrityError("the directory is larger than one can be", where=folder.path)
        return b"".join(parts)

    def _bytes(self, at: int, size: int) -> bytes:
        self._disk.seek(self._offset + at)
        data = self._disk.read(size)
        if len(data) < size:
            raise IntegrityError(f"the file system ends after {at + len(data)} bytes")
        return data

    def check_copies(self) -> None:
        """Raise ``IntegrityError`` unless both allocation tables, and both boot sectors of FAT32, are the same."""
        size = self.geometry.fat_sectors * SECTOR_BYTES
        one, other = self.geometry.fat_offset(0), self.geometry.fat_offset(1)
        for at in range(0, size, sparse.CHUNK_BYTES):
            step = min(sparse.CHUNK_BYTES, size - at)
            if self._bytes(one + at, step) != self._bytes(other + at, step):
                raise IntegrityError("the two allocation tables differ")
        if self.geometry.kind is Bits.FAT32:
            backup = self._bytes(BACKUP_SECTOR * SECTOR_BYTES, SECTOR_BYTES)
            if self._bytes(0, SECTOR_BYTES) != backup:
                raise IntegrityError("the boot sector differs from its backup")

    def check_free(self, used: int) -> None:
        """Raise ``IntegrityError`` unless ``used`` clusters are taken and no more, which FAT32 also says itself."""
        taken = self.geometry.clusters - self._free()
        if taken != used:
            raise IntegrityError(f"{taken} clusters are taken, {used} belong to a file or directory")
        if self.geometry.kind is Bits.FAT32:
            lead, middle, free, _, trail = INFO.unpack(self._bytes(INFO_SECTOR * SECTOR_BYTES, SECTOR_BYTES))
            if (lead, middle, trail) != INFO_SIGNATURES or free != self.geometry.clusters - used:
                raise IntegrityError("the FSInfo sector is wrong")

    def _free(self) -> int:
        """How many entries of the allocation table are 0."""
        end = self.geometry.clusters + 2
        if self.geometry.kind is Bits.FAT12:
            return sum(1 for cluster in range(2, end) if not self.link(cluster))
        width = self.geometry.kind // 8
        size, free = end * width, 0
        for at in range(0, size, sparse.CHUNK_BYTES):
            table = self._bytes(self.geometry.fat_offset(0) + at, min(sparse.CHUNK_BYTES, size - at))
            free += array("H" if width == 2 else "I", table).count(0)
        return free


def validate(disk: BinaryIO, *, offset: int = 0) -> None:
    """Raise ``IntegrityError`` unless the file system is sound.

    Chains are as long as the files, no cluster is in two of them or in none, names are unique, directories know their
    parents, copies of the tables agree.
    """
    system = FileSystem(disk, offset=offset)
    system.check_copies()
    seen = _Clusters(system.geometry.clusters)
    names: set[tuple[str, str]] = set()
    shorts: set[tuple[str, bytes]] = set()
    for found in system.walk(seen):
        folder, _, name = found.path.rpartition("/")
        if (folder, fatnames.fold(name)) in names or (folder, found.short) in shorts:
            raise IntegrityError("the name is there twice", where=found.path)
        names.add((folder, fatnames.fold(name)))
        shorts.add((folder, found.short))
        if not found.directory:
            _check_file(system, found, seen)
    system.check_free(seen.count)


class _Clusters:
    """Which clusters belong to something."""

    def __init__(self, clusters: int) -> None:
        self._bits = bytearray(clusters // 8 + 1)
        self.count = 0

    def add(self, cluster: int, where: str) -> None:
        """Take a cluster. Raises ``IntegrityError`` when it is taken already."""
        place, bit = divmod(cluster - 2, 8)
        if self._bits[place] >> bit & 1:
            raise IntegrityError(f"cluster {cluster} belongs to two files or directories", where=where)
        self._bits[place] |= 1 << bit
        self.count += 1


class _Body(io.RawIOBase):
    """The bytes of one file, cluster by cluster."""

    def __init__(self, system: FileSystem, found: Found) -> None:
        super().__init__()
        self._system = system
        self._found = found
        self._chain = system.chain(found.cluster, found.path) if found.size else iter(())
        self._left = found.size
        self._data = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._data and self._left:
            cluster = next(self._chain, None)
            if cluster is None:
                raise IntegrityError(f"the chain ends {self._left} bytes before the file", where=self._found.path)
            self._data = self._system.read(cluster)[: self._left]
            self._left -= len(self._data)
        count = min(len(buffer), len(self._data))
        buffer[:count], self._data = self._data[:count], self._data[count:]
        return count


def _parse(boot: bytes) -> tuple[Geometry, int, int]:
    """Geometry, first cluster of the root of FAT32 (else 0), and where the fields that all have (3.2) start."""
    if boot[-2:] != b"\x55\xaa":
        raise IntegrityError("there is no FAT file system: the boot sector does not end in 55 AA")
    _, _, size, cluster, reserved, fats, entries, small, _, fat16, _, _, _, large = BPB.unpack_from(boot)
    fat32, _, _, root, _, _ = HEAD32.unpack_from(boot, BPB.size)
    if size != SECTOR_BYTES or cluster not in (1, 2, 4, 8, 16, 32, 64, 128) or fats != FATS or not reserved:
        raise IntegrityError("there is no FAT file system of a kind that can be read here")
    made = Geometry(
        kind=Bits.FAT16 if fat16 else Bits.FAT32,
        sectors=small or large,
        cluster_sectors=cluster,
        reserved_sectors=reserved,
        fat_sectors=fat16 or fat32,
        root_entries=entries,
    )
    kind = kind_of(made.clusters)
    if made.clusters < 1 or (kind is Bits.FAT32) != (not fat16) or (not entries) != (not fat16):
        raise IntegrityError(f"a FAT file system of {made.clusters} clusters cannot be as its boot sector says")
    if made.fat_sectors * SECTOR_BYTES * 8 < (made.clusters + 2) * kind:
        raise IntegrityError("the allocation table is too small for the file system")
    return replace(made, kind=kind), 0 if fat16 else root, BPB.size + (0 if fat16 else HEAD32.size)


def _parse_directory(data: bytes, folder: Found) -> Iterator[Found]:
    """What a directory holds, with long names where they belong to their entry (7)."""
    long: list[bytes] = []
    for index, start in enumerate(range(0, len(data), ENTRY_BYTES)):
        raw = data[start : start + ENTRY_BYTES]
        if raw[0] == 0:
            break
        if raw[0] == 0xE5:
            long = []
        elif raw[11] & 0x3F == LONG_ATTRIBUTE:
            long = [raw] if raw[0] & LAST_LONG else [*long, raw]
        else:
            dots = raw[:11] in (b".".ljust(11), b"..".ljust(11))
            if dots != (bool(folder.path) and index < 2):
                raise IntegrityError("a directory that does not start with . and ..", where=folder.path)
            if not dots and not raw[11] & LABEL:
                yield _parse_entry(raw, long, folder)
            long = []


def _parse_entry(raw: bytes, long: list[bytes], folder: Found) -> Found:
    short, attributes, case, _, _, _, _, high, time, date, low, size = ENTRY.unpack(raw)
    name = _long_name(long, short) or _short_name(short, case)
    path = f"{folder.path}/{name}" if folder.path else name
    if "/" in name or "\0" in name or name in (".", ".."):
        raise IntegrityError("the name leaves its directory", where=repr(path))
    return Found(
        path=path,
        short=short,
        directory=bool(attributes & DIRECTORY),
        cluster=high << 16 | low,
        size=0 if attributes & DIRECTORY else size,
        mtime_s=_seconds(date, time),
    )


def _long_name(parts: list[bytes], short: bytes) -> str:
    """The name that these entries hold; empty when they do not belong to ``short`` (7.2)."""
    checksum, text = fatnames.checksum(short), b""
    for number, part in enumerate(reversed(parts), 1):
        ordinal, one, _, _, sum_, two, _, three = LONG_ENTRY.unpack(part)
        if ordinal & ~LAST_LONG != number or sum_ != checksum:
            return ""
        text += one + two + three
    return text.decode("utf-16-le", "replace").split("\0")[0].rstrip("\uffff")


def _short_name(short: bytes, case: int) -> str:
    """An 8.3 name; where the specification has a reserved byte, other systems say that a part of it is lower case."""
    base = short[:8].lower() if case & _LOWER_BASE else short[:8]
    return fatnames.text(base + (short[8:].lower() if case & _LOWER_EXTENSION else short[8:]))


def _seconds(date: int, time: int) -> int:
    """Seconds since 1970 of a FAT date and time in UTC; 0 when there is no such date."""
    try:
        when = datetime.datetime(
            1980 + (date >> 9),
            date >> 5 & 15,
            date & 31,
            time >> 11,
            time >> 5 & 63,
            (time & 31) * 2,
            tzinfo=datetime.UTC,
        )
    except ValueError:
        return 0
    return int(when.timestamp())


def _check_file(system: FileSystem, found: Found, seen: _Clusters) -> None:
    """A file's chain is as long as the file."""
    expected, count = -(-found.size // system.geometry.cluster_bytes), 0
    if found.cluster or found.size:
        for cluster in system.chain(found.cluster, found.path):
            seen.add(cluster, found.path)
            count += 1
    if count != expected:
        raise IntegrityError(f"{count} clusters are there for {found.size} bytes", where=found.path)
