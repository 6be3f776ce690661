"""Writing EROFS images: see ``erofs``."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO
from uuid import UUID

from zlib_ng import zlib_ng

from moby.errors import IntegrityError
from moby.formats.catalog import Catalog, Statistics
from moby.formats.entry import Entry, Kind, directory
from moby.formats.erofs_contents import Contents
from moby.formats.erofs_directories import ROOT, Directories
from moby.formats.erofs_inode import Owner, Place
from moby.formats.erofs_layout import (
    BLOCK_BYTES,
    SLOT_BYTES,
    SUPERBLOCK_OFFSET,
    Superblock,
    checksum,
)
from moby.formats.erofs_space import Space
from moby.formats.squashfs_layout import device

_CHUNK_BYTES = 1 << 20
_TARGET_BYTES = 4095


def write(entries: Iterable[Entry], out: BinaryIO, *, uuid: UUID, time_s: int = 0) -> Statistics:
    """Write an image to ``out`` from its position on; ``out`` must be seekable and readable, and ends after the image.

    Entries may come in any order (a hard link after its file); of two with one path the later wins, and directories
    that nobody names are made, root's, 0755, of ``time_s``, which is also the image's time: what has that time takes
    32 bytes less. Raises ``IntegrityError`` for what the format cannot hold: attributes outside of ``user.``,
    ``trusted.``, ``security.`` and access control lists, names above 255 bytes; and for contents that are not as long
    as announced.
    """
    image = _Image(out, max(time_s, 0))
    for entry in entries:
        image.take(entry)
    return image.finish(uuid)


class _Image:
    """An image being made: inodes and contents as they come, between them room for what comes later."""

    def __init__(self, out: BinaryIO, time_s: int) -> None:
        self._space = Space(out, 1)
        self._time_s = time_s
        self._catalog = Catalog(Owner.of(directory("", mtime_s=time_s)).encode())
        self._contents = Contents(self._space)
        self._count = 0
        self._data_bytes = self._duplicates = self._duplicate_bytes = 0

    def take(self, entry: Entry) -> None:
        """Write an entry's inode and contents, all but a directory's."""
        kind = entry.kind
        if kind is Kind.HARDLINK:
            self._catalog.link(entry.path, entry.target)
            return
        owner = Owner.of(entry)
        if kind is Kind.DIRECTORY:
            self._catalog.add(entry.path, kind, owner.encode())
            return
        self._count += 1
        if kind is Kind.FILE:
            position, extended = self._file(entry, owner)
        else:
            position, extended = self._special(entry, owner)
        self._catalog.add(entry.path, kind, (position // SLOT_BYTES << 1 | extended).to_bytes(8, "little"))

    def finish(self, uuid: UUID) -> Statistics:
        """Write directories and superblock."""
        directories = Directories(self._space, self._catalog.walk, self._time_s)
        directories.plan()
        self._space.settle()
        root = directories.write()
        superblock = Superblock(
            uuid=uuid, root=ROOT, inodes=directories.count, time_s=self._time_s, blocks=self._space.blocks
        )
        block = bytearray((superblock.encode() + root).ljust(BLOCK_BYTES - SUPERBLOCK_OFFSET, b"\0"))
        block[4:8] = checksum(block)
        self._space.write(0, bytes(SUPERBLOCK_OFFSET) + block)
        return Statistics(
            size_bytes=self._space.end(),
            inodes=directories.count,
            data_bytes=self._data_bytes,
            duplicates=self._duplicates,
            duplicate_bytes=self._duplicate_bytes,
        )

    def _special(self, entry: Entry, owner: Owner) -> tuple[int, bool]:
        """A symbolic link, device or fifo: where its inode is, and whether it is extended."""
        data = entry.target.encode("utf-8", "surrogateescape") if entry.kind is Kind.SYMLINK else b""
        if entry.kind is Kind.SYMLINK and (not 0 < len(data) <= _TARGET_BYTES or b"\0" in data):
            raise IntegrityError(f"a link target of {len(data)} bytes, or with a NUL", where=entry.path)
        place = Place.plan(owner, len(data), links=1, time_s=self._time_s)
        start = device(entry.major, entry.minor) if entry.kind in (Kind.CHAR, Kind.BLOCK) else 0
        if place.blocks:
            start = self._space.run(place.blocks)
            self._space.write(start * BLOCK_BYTES, data.ljust(BLOCK_BYTES, b"\0"))
        return self._inode(place, start, data)

    def _file(self, entry: Entry, owner: Owner) -> tuple[int, bool]:
        place = Place.plan(owner, entry.size, links=entry.links, time_s=self._time_s)
        self._data_bytes += entry.size
        if isinstance(entry.data, bytes):
            return self._bytes(entry, entry.data, place)
        return self._stream(entry, entry.data, place)

    def _bytes(self, entry: Entry, data: bytes, place: Place) -> tuple[int, bool]:
        if len(data) != entry.size:
            raise IntegrityError(f"{entry.size} bytes announced, {len(data)} given", where=entry.path)
        tail = data[place.tail_offset :]
        if not place.blocks:
            return self._inode(place, 0, tail)

        def read(offset: int, count: int) -> bytes:
            return data[offset : offset + count]

        number = self._contents.number(entry.size, zlib_ng.crc32(data), tail, read)
        if found := self._contents.find(number, place):
            return self._again(*found, tail)
        start = self._space.run(place.blocks)
        whole = data[: place.blocks * BLOCK_BYTES]
        self._space.write(start * BLOCK_BYTES, whole + bytes(-len(whole) % BLOCK_BYTES))
        return self._new(number, place, start, tail)

    def _stream(self, entry: Entry, data: BinaryIO, place: Place) -> tuple[int, bool]:
        """Contents that come in pieces: whether they are new is known at their end."""
        start = self._space.run(place.blocks)
        first = start * BLOCK_BYTES
        done, check, tail = 0, 0, b""
        while left := entry.size - done:
            chunk = data.read(min(left, _CHUNK_BYTES))
            if not chunk:
                raise IntegrityError(f"{left} bytes are missing at the end", where=entry.path)
            check = zlib_ng.crc32(chunk, check)
            room = max(place.tail_offset - done, 0)
            self._space.write(first + done, chunk[:room])
            tail += chunk[room:]
            done += len(chunk)
        if not place.blocks:
            return self._inode(place, 0, tail)
        if tail and not place.inline:
            self._space.write(first + place.tail_offset, tail.ljust(BLOCK_BYTES, b"\0"))

        def read(offset: int, count: int) -> bytes:
            return self._space.read(first + offset, count)

        number = self._contents.number(entry.size, check, tail, read)
        if found := self._contents.find(number, place):
            self._space.rewind(start)
            return self._again(*found, tail)
        return self._new(number, place, start, tail)

    def _again(self, place: Place, start: int, tail: bytes) -> tuple[int, bool]:
        self._duplicates += 1
        self._duplicate_bytes += place.size
        return self._inode(place, start, tail)

    def _new(self, number: int, place: Place, start: int, tail: bytes) -> tuple[int, bool]:
        position, extended = self._inode(place, start, tail)
        self._contents.keep(number, start, position + place.head_bytes if place.inline else 0)
        return position, extended

    def _inode(self, place: Place, start: int, tail: bytes) -> tuple[int, bool]:
        position = self._space.slot(place.slot_bytes)
        self._space.fill(position, place.encode(links=1, start=start, number=self._count, tail=tail))
        return position, place.extended
