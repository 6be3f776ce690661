"""FAT file systems (FAT12, FAT16, FAT32) made in one pass: the layout is computed first, then everything is streamed.

Every file and directory is contiguous. The same contents give the same bytes: entries are sorted by name, the volume's
number and the one time that all entries bear are given. ``fatread`` reads and checks them.

Source: Microsoft FAT specification of 2005-08-30 ("fatgen"), whose chapters the comments name.
"""

from __future__ import annotations

import datetime
import struct
import sys
from array import array
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, cast

from moby.errors import ConfigError
from moby.formats import fatnames, sparse
from moby.formats.content import Content
from moby.formats.fatgeometry import FATS, SECTOR_BYTES, Geometry, Kind, choose, sectors_for
from moby.formats.fatnames import ENTRY_BYTES

__all__ = ["Kind", "Layout", "Volume", "layout"]

MAX_FILE_BYTES = 0xFFFFFFFF
MAX_DIRECTORY_BYTES = 65536 * ENTRY_BYTES
_LEAST_ROOT_ENTRIES = 512
_MAX_ROOT_ENTRIES = 65520

DIRECTORY, ARCHIVE, LABEL = 0x10, 0x20, 0x08  # attributes (6.1)
# 6.1 "Structure": name, attribute, reserved, created (tenths, time, date), accessed, first cluster's high half, written
# (time, date), first cluster's low half, size.
ENTRY = struct.Struct("<11sBBBHHHHHHHI")
# 3.1, from the jump on: OEM name, bytes per sector, sectors per cluster, reserved sectors, FATs, root entries, 16-bit
# sectors, medium, 16-bit FAT sectors, sectors per track, heads, hidden sectors, 32-bit sectors.
BPB = struct.Struct("<3s8sHBHBHHBHHHII")
# 3.2: drive, reserved, signature, volume number, label, kind.
TAIL16 = struct.Struct("<BBBI11s8s")
# 3.3: FAT sectors, flags, version, root cluster, FSInfo sector, backup boot sector, reserved; then as in 3.2.
HEAD32 = struct.Struct("<IHHIHH12x")
_FIXED_DISK, _TRACK_SECTORS, _HEADS, _DRIVE = 0xF8, 63, 255, 0x80
INFO_SECTOR, BACKUP_SECTOR = 1, 6
# 5: lead signature, reserved, signature, free clusters, next free cluster, reserved, trail signature.
INFO = struct.Struct("<4s480x4sII12x4s")
INFO_SIGNATURES = (b"RRaA", b"rrAa", b"\0\0\x55\xaa")
_SIGNATURE = b"\x55\xaa"
# int 18h: let the BIOS try the next disk; then stop.
_NO_BOOT = b"\xcd\x18\xf4\xeb\xfd"
_CHUNK_ENTRIES = 1 << 16
_END = 0x0FFFFFFF
_CODES = {Kind.FAT16: "H", Kind.FAT32: "I"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """What is asked of a file system.

    ``label`` is up to 11 characters, ``number`` 32 bits by which systems tell volumes apart, ``time_s`` the seconds
    since 1970 (UTC) that all entries bear, as near as FAT can say. ``hidden_sectors`` is where the partition starts on
    its disk. The size is what the contents need, no less than ``at_least_bytes``, and a multiple of ``align_bytes``;
    the kind follows from the size unless one is given.
    """

    label: str
    number: int
    time_s: int
    hidden_sectors: int = 0
    kind: Kind | None = None
    at_least_bytes: int = 0
    at_most_bytes: int | None = None
    align_bytes: int = 1 << 20


def layout(files: Mapping[str, Content | None], volume: Volume, *, too_large: str = "") -> Layout:
    """Decide where each file goes. Paths are relative and ``/``-separated; None is a directory that may be empty.

    ``too_large`` is what to do when a file is.

    Raises ``ConfigError`` when the contents do not fit ``at_most_bytes``, for a file over 4 GiB - 1, a name that FAT
    cannot have or has already, a directory of more than 65,536 entries, and a label that cannot be.
    """
    _check_label(volume.label)
    for path, content in files.items():
        if content is not None and content.size > MAX_FILE_BYTES:
            what = f"a file of {content.size} bytes cannot be in a FAT file system, whose limit is 4 GiB"
            raise ConfigError(what, where=path, fix=too_large)
    root = _tree(files, labelled=bool(volume.label))
    return Layout(volume, _geometry(root, volume), root)


@dataclass(slots=True, eq=False)
class _Node:
    """A file or directory; ``size`` of a directory is that of its entries. ``cluster`` is 0 until it has one."""

    path: str
    short: bytes = b""
    parent: _Node | None = None
    content: Content | None = None
    children: dict[str, _Node] = field(default_factory=dict)
    size: int = 0
    cluster: int = 0

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    def walk(self) -> Iterator[_Node]:
        """It and all below it, a directory before what it holds."""
        left = [self]
        while left:
            node = left.pop()
            yield node
            left += reversed(node.children.values())


class Layout:
    """A file system all of whose places are known: ``size_bytes`` in all."""

    def __init__(self, volume: Volume, geometry: Geometry, root: _Node) -> None:
        self.volume = volume
        self.geometry = geometry
        self.size_bytes = geometry.sectors * SECTOR_BYTES
        self._root = root
        self._chains: list[tuple[_Node, int]] = []
        cluster = 2
        for node in root.walk():
            count = -(-node.size // geometry.cluster_bytes)
            if count and not (node is root and geometry.root_entries):
                node.cluster = cluster
                self._chains.append((node, count))
                cluster += count
        self._next_free = cluster

    def offset(self, path: str) -> int:
        """Where the bytes of a file start, counted from the start of the file system; they are contiguous.

        Raises ``KeyError`` when there is no such file or it is empty.
        """
        for node, _ in self._chains:
            if node.path == path and node.content is not None:
                return self.geometry.offset(node.cluster)
        raise KeyError(path)

    def write(self, out: BinaryIO, *, offset: int = 0) -> None:
        """Write the file system to a seekable ``out`` from ``offset`` on, where ``out`` ends or holds zeros.

        Zeros are left out, so that ``out`` stays sparse. Raises ``IntegrityError`` when a content is not of its size.
        """
        sparse.grow(out, offset + self.size_bytes)
        self._write_boot(out, offset)
        for number in range(FATS):
            out.seek(offset + self.geometry.fat_offset(number))
            self._write_table(out)
        if self.geometry.root_entries:
            out.seek(offset + self.geometry.root_offset)
            out.write(self._entries(self._root))
        sink = cast(BinaryIO, _Holes(out))
        for node, _ in self._chains:
            out.seek(offset + self.geometry.offset(node.cluster))
            if node.content is None:
                out.write(self._entries(node))
            else:
                node.content.copy(sink, where=node.path)

    def boot_sector(self) -> bytes:
        """The first 512 bytes: what the file system is, and code that hands over to the next disk."""
        geometry, volume = self.geometry, self.volume
        fat32 = geometry.kind is Kind.FAT32
        small = 0 if fat32 or geometry.sectors > 0xFFFF else geometry.sectors
        label = _label(volume.label or "NO NAME")
        kind = geometry.kind.name.ljust(8).encode()
        tail = TAIL16.pack(_DRIVE, 0, 0x29, volume.number, label, kind)
        if fat32:
            tail = HEAD32.pack(geometry.fat_sectors, 0, 0, 2, INFO_SECTOR, BACKUP_SECTOR) + tail
        code = BPB.size + len(tail)
        head = BPB.pack(
            bytes((0xEB, code - 2, 0x90)),
            b"MSWIN4.1",
            SECTOR_BYTES,
            geometry.cluster_sectors,
            geometry.reserved_sectors,
            FATS,
            geometry.root_entries,
            small,
            _FIXED_DISK,
            0 if fat32 else geometry.fat_sectors,
            _TRACK_SECTORS,
            _HEADS,
            volume.hidden_sectors,
            0 if small else geometry.sectors,
        )
        return (head + tail + _NO_BOOT).ljust(SECTOR_BYTES - 2, b"\0") + _SIGNATURE

    def _write_boot(self, out: BinaryIO, offset: int) -> None:
        """The reserved sectors; FAT32 has two copies of them and says in them what is free."""
        boot = self.boot_sector()
        if self.geometry.kind is Kind.FAT32:
            free = self.geometry.clusters - (self._next_free - 2)
            lead, middle, trail = INFO_SIGNATURES
            boot += INFO.pack(lead, middle, free, self._next_free, trail)
            out.seek(offset + BACKUP_SECTOR * SECTOR_BYTES)
            out.write(boot)
        out.seek(offset)
        out.write(boot)

    def _write_table(self, out: BinaryIO) -> None:
        """The allocation table up to the last entry in use (4)."""
        if self.geometry.kind is Kind.FAT12:
            out.write(_packed12([entry & 0xFFF for part in self._links() for entry in part]))
            return
        code, mask = _CODES[self.geometry.kind], 0xFFFF if self.geometry.kind is Kind.FAT16 else _END
        for part in self._links():
            entries = array(code, part if mask == _END else [entry & mask for entry in part])
            if sys.byteorder == "big":
                entries.byteswap()
            out.write(entries.tobytes())

    def _links(self) -> Iterator[Iterable[int]]:
        """The entries of the allocation table, in parts that are not too long."""
        yield [_END & ~0xFF | _FIXED_DISK, _END]
        for node, count in self._chains:
            last = node.cluster + count - 1
            for start in range(node.cluster, last, _CHUNK_ENTRIES):
                yield range(start + 1, min(start + _CHUNK_ENTRIES, last) + 1)
            yield [_END]

    def _entries(self, node: _Node) -> bytes:
        """The bytes of a directory (6)."""
        made = []
        if node.parent is not None:
            made += [self._entry(_DOT, DIRECTORY, node.cluster, 0)]
            up = node.parent.cluster if node.parent.parent else 0  # the root is 0, wherever it is
            made += [self._entry(_DOTS, DIRECTORY, up, 0)]
        elif self.volume.label:
            made += [self._entry(_label(self.volume.label), LABEL, 0, 0)]
        for child in node.children.values():
            if fatnames.needs_long(child.name, child.short):
                made.append(fatnames.long_entries(child.name, child.short))
            folder = child.content is None
            made.append(
                self._entry(child.short, DIRECTORY if folder else ARCHIVE, child.cluster, 0 if folder else child.size)
            )
        return b"".join(made)

    def _entry(self, short: bytes, attributes: int, cluster: int, size: int) -> bytes:
        date, time = _stamp(self.volume.time_s)
        return ENTRY.pack(short, attributes, 0, 0, time, date, date, cluster >> 16, time, date, cluster & 0xFFFF, size)


_DOT, _DOTS = b".".ljust(11), b"..".ljust(11)


class _Holes:
    """A stream that goes past zeros instead of writing them."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, data: Any) -> int:
        if sparse.is_zero(data):
            self._out.seek(len(data), 1)
        else:
            self._out.write(data)
        return len(data)


def _tree(files: Mapping[str, Content | None], *, labelled: bool) -> _Node:
    """The files as a tree, its directories sorted, with 8.3 names and sizes."""
    root = _Node("")
    for path, content in files.items():
        _add(root, path, content)
    for node in list(root.walk()):
        if node.content is None:
            _settle(node, extra=2 if node is not root else int(labelled))
    return root


def _add(root: _Node, path: str, content: Content | None) -> None:
    """Put one file or directory in its place, with the directories that lead there."""
    node = root
    parts = path.split("/")
    for depth, part in enumerate(parts, 1):
        if node.content is not None:
            raise ConfigError("a file is in the way of a directory", where=node.path)
        node = node.children.setdefault(part, _Node("/".join(parts[:depth]), parent=node))
    if content is not None:
        if node.children or node.content is not None:
            raise ConfigError("there are two files, or a file and a directory, of this name", where=path)
        node.content, node.size = content, content.size


def _settle(node: _Node, *, extra: int) -> None:
    """Sort and name what a directory holds; ``extra`` is how many entries it has besides."""
    fatnames.check(node.children, where=node.path)
    names = sorted(node.children, key=lambda name: (fatnames.fold(name), name))
    node.children = {name: node.children[name] for name in names}
    count = extra
    for name, short in fatnames.short_names(names).items():
        node.children[name].short = short
        count += fatnames.entry_count(name, short)
    # Never empty: a directory has a cluster even where it has no entries, as the root of FAT32.
    node.size = max(1, count) * ENTRY_BYTES
    if node.size > MAX_DIRECTORY_BYTES:
        raise ConfigError(f"{len(names)} names are too many for a FAT directory", where=node.path or "/")


def _geometry(root: _Node, volume: Volume) -> Geometry:
    """The smallest file system that is asked for and holds the tree."""
    entries = max(_LEAST_ROOT_ENTRIES, -(-root.size // ENTRY_BYTES // 16) * 16)
    sizes = [node.size for node in root.walk() if node.size and node is not root]
    sectors = _align(volume.at_least_bytes, volume)
    while True:
        made = choose(volume.kind, sectors, entries)
        held = sizes if made.root_entries else [root.size, *sizes]
        needed = sectors_for(made, sum(-(-size // made.cluster_bytes) for size in held))
        if needed <= sectors:
            break
        if volume.at_most_bytes is not None and needed * SECTOR_BYTES > volume.at_most_bytes:
            what = f"the {made.kind.name} file system needs {needed * SECTOR_BYTES >> 10} KiB"
            raise ConfigError(f"{what}, and {volume.at_most_bytes >> 10} KiB are there for it")
        # Growing may call for larger clusters, or another kind, which then need more.
        sectors = _align(needed * SECTOR_BYTES, volume)
    if made.root_entries > _MAX_ROOT_ENTRIES:
        raise ConfigError(f"{len(root.children)} names are too many for the root of {made.kind.name}", where="/")
    return made


def _align(size: int, volume: Volume) -> int:
    """Sectors of ``size`` bytes rounded up as ``volume`` asks for, as far as it lets it grow."""
    step = max(volume.align_bytes, SECTOR_BYTES)
    aligned = -(-size // step) * step
    if volume.at_most_bytes is not None:
        aligned = max(size, min(aligned, volume.at_most_bytes))
    return aligned // SECTOR_BYTES


def _packed12(entries: list[int]) -> bytes:
    """Two entries of 12 bits in three bytes."""
    if len(entries) % 2:
        entries = [*entries, 0]
    pairs = zip(entries[::2], entries[1::2], strict=True)
    return b"".join((low | high << 12).to_bytes(3, "little") for low, high in pairs)


def _stamp(time_s: int) -> tuple[int, int]:
    """Date and time of an entry (6.2), in UTC, between 1980 and 2107."""
    earliest, latest = 315532800, 4354819198
    when = datetime.datetime.fromtimestamp(min(max(time_s, earliest), latest), datetime.UTC)
    date = when.year - 1980 << 9 | when.month << 5 | when.day
    return date, when.hour << 11 | when.minute << 5 | when.second // 2


def _label(label: str) -> bytes:
    return label.upper().ljust(11).encode("ascii")


def _check_label(label: str) -> None:
    if label and (len(label) > 11 or not label.isascii() or set(label) & set('"*+,./:;<=>?[\\]|') or min(label) < " "):
        raise ConfigError(f"{label!r} cannot be the label of a FAT file system", fix="use up to 11 letters and digits")
