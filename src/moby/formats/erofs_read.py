"""Reading EROFS images: see ``erofs``. Every number in an image is hostile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.catalog import PATH_BYTES
from moby.formats.entry import Entry, Kind
from moby.formats.erofs_layout import (
    COMPACT,
    COMPAT_CHECKSUM,
    DIRENT,
    EXTENDED,
    NULL_BLOCK,
    SLOT_BYTES,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET,
    XATTR,
    XATTR_HEADER_BYTES,
    XATTR_PREFIXES,
    Layout,
    Superblock,
    checksum,
)
from moby.formats.inodetree import Contents, walk
from moby.formats.squashfs_layout import device_parts
from moby.formats.stream import SMALL_BYTES, read_all

_SOCKET = 0o140000
_CHUNK_BITS = 0x1F
_CHUNK_INDEXES = 0x20

Extent = tuple[int, int | None]  # bytes, and where they are; None is a hole


@dataclass(frozen=True, slots=True)
class _Inode:
    """An inode: what it says of itself as an entry without a name, and where its contents are."""

    number: int
    entry: Entry
    size: int
    layout: Layout
    start: int
    after: int  # position behind inode and attributes


def read(stream: BinaryIO, *, where: str = "", max_entries: int = 1_000_000) -> Iterator[Entry]:
    """The entries of the image at the position of a seekable stream, in tree order, without the root itself.

    Contents up to ``SMALL_BYTES`` are given as bytes, larger ones as a stream that is valid until the next entry.
    Sockets are left out: an entry stream has none. Raises ``IntegrityError`` for anything broken or hostile, and for
    compressed files.
    """
    image = _Image(stream, where)
    return walk(_Inodes(image), image.superblock.root, max_entries=max_entries)


class _Image:
    """The image as bytes at positions, and the superblock."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self.where = where
        self._stream = stream
        self._base = stream.tell()
        head = self.read(SUPERBLOCK_OFFSET, SUPERBLOCK_BYTES)
        self.superblock = Superblock.decode(head, where=where)
        self.block_bytes = self.superblock.block_bytes
        if stream.seek(0, io.SEEK_END) - self._base < self.superblock.blocks * self.block_bytes:
            raise self.fail(f"the image is truncated: it has {self.superblock.blocks} blocks")
        if self.superblock.compatible & COMPAT_CHECKSUM:
            self._check(head)

    def fail(self, what: str, entry: str = "") -> IntegrityError:
        """An error that names the image and the entry at hand."""
        return IntegrityError(what, where=": ".join(filter(None, (self.where, entry and repr(entry)))))

    def read(self, position: int, count: int) -> bytes:
        """Exactly ``count`` bytes of the image."""
        if position >> 62:
            raise self.fail("a position outside of the image")
        self._stream.seek(self._base + position)
        data = read_all(self._stream, count)
        if len(data) < count:
            raise self.fail("the image ends early, or names bytes outside of it")
        return data

    def _check(self, head: bytes) -> None:
        size = self.block_bytes
        data = self.read(SUPERBLOCK_OFFSET, size - SUPERBLOCK_OFFSET if size > SUPERBLOCK_OFFSET else size)
        if checksum(data) != head[4:8]:
            raise self.fail(f"expected checksum {head[4:8].hex()}, got {checksum(data).hex()}")


class _Inodes:
    """The inodes of an image, as ``inodetree`` asks for them."""

    def __init__(self, image: _Image) -> None:
        self._image = image
        self.fail = image.fail

    def names(self, inode: _Inode, path: str) -> Iterator[tuple[bytes, int | None]]:
        """The names in a directory and their inodes' numbers; None for those of itself and its parent."""
        body = Contents(self.pieces(inode, path))
        while block := body.read(self._image.block_bytes):
            for name, number in self._names(block, path):
                yield name, None if name in (b".", b"..") else number

    def pieces(self, inode: _Inode, path: str) -> Iterator[bytes]:
        """The bytes of a file, directory or link."""
        for length, position in self._extents(inode, path):
            for done in range(0, length, SMALL_BYTES):
                count = min(length - done, SMALL_BYTES)
                yield bytes(count) if position is None else self._image.read(position + done, count)

    def _names(self, block: bytes, path: str) -> Iterator[tuple[bytes, int]]:
        """The names in one block of a directory; the first one begins where the table of entries ends."""
        if len(block) < DIRENT.size:
            raise self._image.fail("a directory is truncated", path)
        first = DIRENT.unpack_from(block)[1]
        if not first or first % DIRENT.size or first > len(block):
            raise self._image.fail(f"a directory's names at {first}", path)
        entries = list(DIRENT.iter_unpack(block[:first]))
        ends = [at for _, at, _ in entries[1:]]
        for (number, at, _), end in zip(entries, [*ends, len(block)], strict=True):
            if not first <= at < end <= len(block):
                raise self._image.fail(f"a name from {at} to {end}", path)
            name = block[at:end]
            yield name.split(b"\0", 1)[0] if end == len(block) else name, number

    def inode(self, number: int, path: str) -> _Inode | None:
        """An inode with what it says of itself; None for a socket."""
        image = self._image
        position = image.superblock.meta_block * image.block_bytes + number * SLOT_BYTES
        data = image.read(position, COMPACT.size)
        form = int.from_bytes(data[:2], "little")
        if form >> 4 or form >> 1 not in set(Layout):
            raise image.fail(f"an inode of format {form:#x}")
        if form & 1:
            data += image.read(position + COMPACT.size, EXTENDED.size - COMPACT.size)
            _, count, mode, size, start, _, uid, gid, mtime_s, _, links = EXTENDED.unpack(data)
        else:
            _, count, mode, links, size, start, _, uid, gid = COMPACT.unpack(data)
            mtime_s = image.superblock.time_s
        if mode & 0o170000 == _SOCKET:
            return None
        try:
            kind = Kind(mode & 0o170000)
        except ValueError:
            raise image.fail(f"unknown file type in mode {mode:o}") from None
        xattr_bytes = XATTR_HEADER_BYTES + 4 * (count - 1) if count else 0
        major, minor = device_parts(start) if kind in (Kind.CHAR, Kind.BLOCK) else (0, 0)
        entry = Entry(
            path="",
            kind=kind,
            mode=mode & 0o7777,
            uid=uid,
            gid=gid,
            mtime_s=mtime_s,
            size=size if kind is Kind.FILE else 0,
            major=major,
            minor=minor,
            links=max(links, 1),
            xattrs=self._xattrs(position + len(data), xattr_bytes) if count else (),
        )
        inode = _Inode(number, entry, size, Layout(form >> 1), start, position + len(data) + xattr_bytes)
        return replace(inode, entry=replace(entry, target=self._target(inode, path))) if kind is Kind.SYMLINK else inode

    def _target(self, inode: _Inode, path: str) -> str:
        if not 0 < inode.size <= PATH_BYTES:
            raise self._image.fail(f"a link target of {inode.size} bytes", path)
        return b"".join(self.pieces(inode, path)).decode("utf-8", "surrogateescape")

    def _xattrs(self, position: int, size: int) -> tuple[tuple[str, bytes], ...]:
        """An inode's attributes: those that it shares with others by number, then its own."""
        image = self._image
        data = image.read(position, size)
        shared = data[4]
        start = XATTR_HEADER_BYTES + 4 * shared
        if start > size:
            raise image.fail(f"{shared} shared attributes in {size} bytes")
        found = []
        for at in range(XATTR_HEADER_BYTES, start, 4):
            number = int.from_bytes(data[at : at + 4], "little")
            place = image.superblock.xattr_block * image.block_bytes + 4 * number
            name_size, _, value_size = XATTR.unpack(image.read(place, XATTR.size))
            found.append(self._xattr(image.read(place, XATTR.size + name_size + value_size))[:2])
        while start + XATTR.size <= size and data[start : start + XATTR.size] != bytes(XATTR.size):
            name, value, taken = self._xattr(data[start:])
            found.append((name, value))
            start += taken
        return tuple(found)

    def _xattr(self, data: bytes) -> tuple[str, bytes, int]:
        """The attribute that ``data`` begins with, and what it takes."""
        name_size, prefix, value_size = XATTR.unpack_from(data)
        middle = XATTR.size + name_size
        end = middle + value_size
        if prefix not in XATTR_PREFIXES or end > len(data):
            raise self._image.fail(f"an attribute of name space {prefix}, {end} bytes of {len(data)}")
        name = XATTR_PREFIXES[prefix] + data[XATTR.size : middle].decode("utf-8", "surrogateescape")
        return name, data[middle:end], end + -end % 4

    def _extents(self, inode: _Inode, path: str) -> Iterator[Extent]:
        """Where a file's, directory's or link's bytes are."""
        image, size = self._image, inode.size
        if inode.layout is Layout.PLAIN:
            yield size, inode.start * image.block_bytes
        elif inode.layout is Layout.INLINE:
            tail = size % image.block_bytes
            yield size - tail, inode.start * image.block_bytes
            yield tail, inode.after
        elif inode.layout is Layout.CHUNKED:
            yield from self._chunks(inode)
        else:
            raise image.fail("compressed EROFS files are not read", path)

    def _chunks(self, inode: _Inode) -> Iterator[Extent]:
        """Pieces of equal size, each with its own block: four bytes, or eight with a device before them."""
        image, left = self._image, inode.size
        if inode.start & 0xFFFF & ~(_CHUNK_BITS | _CHUNK_INDEXES):
            raise image.fail(f"a chunk format {inode.start:#x}")
        width = 8 if inode.start & _CHUNK_INDEXES else 4
        size = image.block_bytes << (inode.start & _CHUNK_BITS)
        at = inode.after + -inode.after % width
        while left > 0:
            data = image.read(at, width)
            if width == 8 and data[2:4] != b"\0\0":
                raise image.fail("a chunk on another device")
            block = int.from_bytes(data[-4:], "little")
            yield min(size, left), None if block == NULL_BLOCK else block * image.block_bytes
            left -= size
            at += width
