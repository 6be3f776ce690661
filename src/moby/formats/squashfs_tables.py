"""Reading blocks and tables of a squashfs image. Every number in it is hostile."""

from __future__ import annotations

import lzma
import struct
import zlib
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO

import zstandard

from moby.errors import IntegrityError
from moby.formats.squashfs_layout import (
    FRAGMENT,
    METADATA_BYTES,
    NONE_32,
    NONE_64,
    RAW_DATA,
    RAW_METADATA,
    SUPERBLOCK_BYTES,
    XATTR_ELSEWHERE,
    XATTR_ID,
    XATTR_PREFIXES,
    XATTR_TABLE,
    Compression,
    Superblock,
)
from moby.formats.stream import read_all

_CACHED_METADATA = 64
_CACHED_FRAGMENTS = 4
_XZ_MEMORY_BYTES = 80 << 20
_MAX_XATTRS_BYTES = 1 << 20
_PAIR = struct.Struct("<HH")


def _zstd(data: bytes, limit: int) -> bytes:
    # The library allocates what a frame says of itself, whatever its limit.
    if zstandard.frame_content_size(data) > limit:
        raise zstandard.ZstdError("the frame is larger than a block")
    return zstandard.ZstdDecompressor().decompress(data, max_output_size=limit)


def _gzip(data: bytes, limit: int) -> bytes:
    return zlib.decompressobj().decompress(data, limit)


def _xz(data: bytes, limit: int) -> bytes:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, _XZ_MEMORY_BYTES).decompress(data, limit)


_UNPACK: dict[int, Callable[[bytes, int], bytes]] = {
    Compression.ZSTD: _zstd,
    Compression.GZIP: _gzip,
    Compression.XZ: _xz,
}


class Image:
    """The blocks and tables of one image, in a seekable stream that it begins at the current position of."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self.where = where
        self._stream = stream
        self._base = stream.tell()
        self.superblock = Superblock.decode(stream.read(SUPERBLOCK_BYTES), where=where)
        if self.superblock.compression not in _UNPACK:
            raise self.fail(f"compression {self.superblock.compression} is not among gzip, xz and zstd")
        self._unpack = _UNPACK[self.superblock.compression]
        self._metadata: OrderedDict[int, tuple[bytes, int]] = OrderedDict()
        self._fragments: OrderedDict[int, bytes] = OrderedDict()
        self._xattrs = self._xattr_table()

    def fail(self, what: str, entry: str = "") -> IntegrityError:
        """An error that names the image and the entry at hand."""
        return IntegrityError(what, where=": ".join(filter(None, (self.where, entry and repr(entry)))))

    def read(self, position: int, count: int) -> bytes:
        """Exactly ``count`` bytes of the image."""
        # The image says itself how large it is: larger than any stream can be, if it likes.
        if not 0 <= position <= self.superblock.size_bytes - count or position >> 62:
            raise self.fail(f"{count} bytes at {position} are outside of the image")
        self._stream.seek(self._base + position)
        data = read_all(self._stream, count)
        if len(data) < count:
            raise self.fail("the image is truncated")
        return data

    def block(self, position: int, word: int, limit: int) -> bytes:
        """A data block, by the size word it has in a file's inode or the fragment table."""
        size = word & ~RAW_DATA
        if not 0 < size <= self.superblock.block_bytes:
            raise self.fail(f"a block of {size} bytes")
        data = self.read(position, size)
        if not word & RAW_DATA:
            data = self._unpacked(data, limit)
        if len(data) > limit:
            raise self.fail(f"a block of {len(data)} bytes where {limit} are left")
        return data

    def fragment(self, number: int) -> bytes:
        """A fragment block."""
        found = self._fragments.get(number)
        if found is None:
            if number >= self.superblock.fragments:
                raise self.fail(f"fragment {number} of {self.superblock.fragments}")
            data = self.record(self.superblock.fragment_table, number, FRAGMENT.size)
            position, word, _ = FRAGMENT.unpack(data)
            found = self._fragments[number] = self.block(position, word, self.superblock.block_bytes)
            if len(self._fragments) > _CACHED_FRAGMENTS:
                self._fragments.popitem(last=False)
        return found

    def owner(self, number: int) -> int:
        """A user or group id."""
        if number >= self.superblock.ids:
            raise self.fail(f"owner {number} of {self.superblock.ids}")
        return int.from_bytes(self.record(self.superblock.id_table, number, 4), "little")

    def xattrs(self, number: int) -> tuple[tuple[str, bytes], ...]:
        """The set of attributes that an inode names."""
        if number == NONE_32:
            return ()
        pairs, count, index = self._xattrs
        if number >= count:
            raise self.fail(f"attributes {number} of {count}")
        reference, wanted, size = XATTR_ID.unpack(self.record(index, number, XATTR_ID.size))
        if size > _MAX_XATTRS_BYTES or wanted > size // 8:
            raise self.fail(f"{wanted} attributes of {size} bytes")
        cursor = Cursor(self, pairs, reference)
        return tuple(self._xattr(cursor, pairs) for _ in range(wanted))

    def record(self, index: int, number: int, size: int) -> bytes:
        """A record of a lookup table whose list of blocks is at ``index``."""
        block, offset = divmod(number * size, METADATA_BYTES)
        position = int.from_bytes(self.read(index + 8 * block, 8), "little")
        data, _ = self.metadata(position)
        if len(data) < offset + size:
            raise self.fail("a table is truncated")
        return data[offset : offset + size]

    def metadata(self, position: int) -> tuple[bytes, int]:
        """The unpacked metadata block at ``position``, and where the next one is."""
        found = self._metadata.get(position)
        if found is None:
            header = int.from_bytes(self.read(position, 2), "little")
            size = header & ~RAW_METADATA
            if not 0 < size <= METADATA_BYTES:
                raise self.fail(f"a metadata block of {size} bytes")
            data = self.read(position + 2, size)
            if not header & RAW_METADATA:
                data = self._unpacked(data, METADATA_BYTES)
            found = self._metadata[position] = data, position + 2 + size
            if len(self._metadata) > _CACHED_METADATA:
                self._metadata.popitem(last=False)
        return found

    def _unpacked(self, data: bytes, limit: int) -> bytes:
        try:
            return self._unpack(data, limit)
        except (zstandard.ZstdError, zlib.error, lzma.LZMAError, EOFError) as error:
            raise self.fail(f"a block is broken: {error}") from error

    def _xattr_table(self) -> tuple[int, int, int]:
        """Where the pairs are, how many sets there are, and where the list of their table's blocks is."""
        position = self.superblock.xattr_table
        if position == NONE_64:
            return 0, 0, 0
        pairs, count, _ = XATTR_TABLE.unpack(self.read(position, XATTR_TABLE.size))
        return pairs, count, position + XATTR_TABLE.size

    def _xattr(self, cursor: Cursor, pairs: int) -> tuple[str, bytes]:
        kind, size = _PAIR.unpack(cursor.take(_PAIR.size))
        name = cursor.take(size).decode("utf-8", "surrogateescape")
        prefix = kind & 0xFF
        if prefix >= len(XATTR_PREFIXES):
            raise self.fail(f"an attribute of name space {prefix}")
        value = cursor.take(self._size(cursor))
        if kind & XATTR_ELSEWHERE:
            cursor = Cursor(self, pairs, int.from_bytes(value[:8], "little"))
            value = cursor.take(self._size(cursor))
        return XATTR_PREFIXES[prefix] + name, value

    def _size(self, cursor: Cursor) -> int:
        size = int.from_bytes(cursor.take(4), "little")
        if size > _MAX_XATTRS_BYTES:
            raise self.fail(f"an attribute of {size} bytes")
        return size


class Cursor:
    """Reads on in a stream of metadata blocks that begins at ``table``, from a reference on."""

    def __init__(self, image: Image, table: int, reference: int) -> None:
        self._image = image
        self._offset = reference & 0xFFFF
        self._data, self._next = image.metadata(table + (reference >> 16))

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        data = self._data[self._offset : self._offset + count]
        self._offset += count
        return data if len(data) == count else self._across(data, count)

    def _across(self, head: bytes, count: int) -> bytes:
        """Bytes that go on in the blocks that follow."""
        data = bytearray(head)
        while len(data) < count:
            self._data, self._next = self._image.metadata(self._next)
            self._offset = count - len(data)
            data += self._data[: self._offset]
        return bytes(data)
