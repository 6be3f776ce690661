"""Metadata blocks, lookup tables and extended attributes of a squashfs image."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.entry import Entry
from moby.formats.squashfs_blocks import Pack
from moby.formats.squashfs_layout import (
    MAX_IDS,
    METADATA_BYTES,
    NONE_64,
    RAW_METADATA,
    XATTR_ID,
    XATTR_PREFIXES,
    XATTR_TABLE,
)

_MAX_VALUE = 65536  # XATTR_SIZE_MAX
_PAIR = struct.Struct("<HH")


class Metadata:
    """A stream of records cut into packed blocks of 8 KiB, each given to ``write`` when it is full."""

    def __init__(self, write: Callable[[bytes], object], pack: Pack | None) -> None:
        self.size = 0
        self.starts = array("Q", [0])  # of each block, in the packed stream
        self._write = write
        self._pack = pack
        self._open = bytearray()

    @property
    def reference(self) -> int:
        """Where the next record will stand: its block's start, and 16 bits of offset in the unpacked block."""
        return self.starts[-1] << 16 | len(self._open)

    def put(self, record: bytes | bytearray) -> None:
        """Add a record. It may cross blocks."""
        self._open += record
        self.size += len(record)
        while len(self._open) >= METADATA_BYTES:
            self._flush(bytes(self._open[:METADATA_BYTES]))
            del self._open[:METADATA_BYTES]

    def end(self) -> int:
        """Write the last block; the length of the packed stream."""
        if self._open:
            self._flush(bytes(self._open))
            self._open.clear()
        return self.starts[-1]

    def _flush(self, data: bytes) -> None:
        packed = self._pack(data) if self._pack else data
        header = len(packed)
        if header >= len(data):
            packed, header = data, len(data) | RAW_METADATA
        self._write(header.to_bytes(2, "little") + packed)
        self.starts.append(self.starts[-1] + 2 + len(packed))


def table(out: BinaryIO, position: int, records: bytes | bytearray | memoryview, pack: Pack | None) -> tuple[int, int]:
    """Write a lookup table at ``position``: its packed blocks, then the list of their places.

    Gives the position of that list, which is what the superblock names, and the position after it.
    """
    blocks = Metadata(out.write, pack)
    for start in range(0, len(records), METADATA_BYTES):
        blocks.put(bytes(records[start : start + METADATA_BYTES]))
    index = position + blocks.end()
    places = [position + start for start in blocks.starts[:-1]]
    out.write(struct.pack(f"<{len(places)}Q", *places))
    return index, index + 8 * len(places)


class Ids:
    """The table of owners: inodes name them by 16-bit numbers."""

    def __init__(self) -> None:
        self._numbers: dict[int, int] = {}

    def number(self, owner: int) -> int:
        """The number of a user or group id."""
        found = self._numbers.get(owner)
        if found is None:
            if len(self._numbers) >= MAX_IDS:
                raise IntegrityError(f"owner {owner} is the {MAX_IDS + 1}th")
            found = self._numbers[owner] = len(self._numbers)
        return found

    def __len__(self) -> int:
        return len(self._numbers)

    def encode(self) -> bytes:
        """The table's records."""
        return struct.pack(f"<{len(self._numbers)}I", *self._numbers)


class Xattrs:
    """The attribute table. Inodes with the same attributes share one set of pairs."""

    def __init__(self, pack: Pack | None) -> None:
        self._packed = bytearray()
        self._pairs = Metadata(self._packed.extend, pack)
        self._sets: dict[bytes, int] = {}
        self._ids = bytearray()
        self._pack = pack

    def number(self, entry: Entry) -> int:
        """The set of an entry's attributes, of which it has some. ``IntegrityError`` for other name spaces."""
        pairs = b"".join(_pair(name, value, entry.path) for name, value in sorted(entry.xattrs))
        found = self._sets.get(pairs)
        if found is None:
            self._ids += XATTR_ID.pack(self._pairs.reference, len(entry.xattrs), len(pairs))
            self._pairs.put(pairs)
            found = self._sets[pairs] = len(self._sets)
        return found

    def write(self, out: BinaryIO, position: int) -> tuple[int, int]:
        """Write pairs and table at ``position``: what the superblock names, and the position after it."""
        if not self._sets:
            return NONE_64, position
        self._pairs.end()
        out.write(self._packed)
        blocks = Metadata(out.write, self._pack)
        blocks.put(self._ids)
        first = position + len(self._packed)
        header = first + blocks.end()
        places = [first + start for start in blocks.starts[:-1]]
        out.write(XATTR_TABLE.pack(position, len(self._sets), 0) + struct.pack(f"<{len(places)}Q", *places))
        return header, header + XATTR_TABLE.size + 8 * len(places)


def _pair(name: str, value: bytes, where: str) -> bytes:
    for number, prefix in enumerate(XATTR_PREFIXES):
        if name.startswith(prefix) and len(name) > len(prefix):
            rest = name[len(prefix) :].encode("utf-8", "surrogateescape")
            if len(rest) > 255 or len(value) > _MAX_VALUE:
                raise IntegrityError(f"attribute {name} is too large", where=where)
            return b"%b%b%b%b" % (_PAIR.pack(number, len(rest)), rest, len(value).to_bytes(4, "little"), value)
    raise IntegrityError(f"squashfs cannot hold the attribute {name}", where=where, fix="remove it from the image")
