"""The contents of files in a squashfs image: cut into blocks, tails packed into fragments, duplicates stored once."""

from __future__ import annotations

import io
from array import array
from typing import BinaryIO

from zlib_ng import zlib_ng

from moby.errors import IntegrityError
from moby.formats.entry import Entry
from moby.formats.fingerprints import Fingerprints
from moby.formats.squashfs_blocks import FRAGMENTS, Blocks
from moby.formats.squashfs_layout import NONE_32
from moby.formats.stream import read_all

EMPTY = NONE_32  # the number of all files without contents

_MASK_32 = 0xFFFFFFFF
_RECENT = 4  # fragments: copies of a tree repeat its files in their order


class Files:
    """Takes contents one after another and numbers them; equal contents have one number.

    What has the size and the checksum of something before is compared with it byte by byte: hashing all contents would
    cost more, and a checksum alone proves nothing. Kept per number, in some 40 bytes: where its blocks' words are in
    ``blocks.words``, its fragment and the offset in that.
    """

    def __init__(self, blocks: Blocks, block_bytes: int) -> None:
        self.blocks = blocks
        self.firsts = array("I")
        self.fragments = array("I")
        self.offsets = array("I")
        self.duplicates = 0
        self.duplicate_bytes = 0
        self.block_bytes = block_bytes
        self._zero = bytes(block_bytes)
        self._known = Fingerprints()
        self._recent: dict[int, bytes] = {}
        self._tails: list[bytes] = []
        self._tails_bytes = 0
        self._full = 0  # fragment blocks that were put
        self._words = 0  # blocks of files that were put

    def add(self, entry: Entry) -> int:
        """Take the contents of a FILE. ``IntegrityError`` when there are fewer or more bytes than it says."""
        data, size = entry.data, entry.size
        if isinstance(data, bytes):
            if len(data) != size:
                raise IntegrityError(f"{size} bytes announced, {len(data)} given", where=entry.path)
            if not size:
                return EMPTY
            if size < self.block_bytes:
                return self._small(data)
            data = io.BytesIO(data)
        return self._large(data, size, entry.path)

    def finish(self) -> None:
        """Write what is left."""
        self._flush()
        self.blocks.finish()

    def _small(self, data: bytes) -> int:
        """Contents that fit into a fragment."""
        size = len(data)
        fingerprint = size << 32 | zlib_ng.crc32(data)
        alike, slot = self._known.find(fingerprint)
        for number in alike:
            if self._tail_of(number, size) == data:
                return self._again(number, size)
        self._known.add(fingerprint, slot)
        self._new()
        self._tail(data)
        return len(self.firsts) - 1

    def _large(self, data: BinaryIO, size: int, where: str) -> int:
        """Contents of one block or more. Whether they are new is known at their end; equal ones are packed alike."""
        number, count = len(self.firsts), size // self.block_bytes
        self._new()
        check = 0
        for _ in range(count):
            block = _take(data, self.block_bytes, where)
            check = zlib_ng.crc32(block, check)
            self._block(number, block)
        tail = _take(data, size % self.block_bytes, where)
        fingerprint = (size & _MASK_32) << 32 | zlib_ng.crc32(tail, check)
        alike, slot = self._known.find(fingerprint)
        for other in alike:
            first = self.firsts[other]
            if self.firsts[other + 1] - first != count or self._tail_of(other, len(tail)) != tail:
                continue
            if self.blocks.same(number, other, first, count):
                self.blocks.rewind(number, count)
                self._words -= count
                del self.firsts[number:], self.fragments[number:], self.offsets[number:]
                return self._again(other, size)
        self._known.add(fingerprint, slot)
        self._tail(tail)
        return number

    def _tail_of(self, number: int, size: int) -> bytes:
        """What a file put into a fragment, when that was ``size`` bytes; else other bytes, or none."""
        if self.fragments[number] == NONE_32:
            return b""
        offset = self.offsets[number]
        return self._fragment(self.fragments[number])[offset : offset + size]

    def _fragment(self, number: int) -> bytes:
        """A fragment block before it was packed. The last ones that were wanted are remembered."""
        if number == self._full:
            return b"".join(self._tails)
        data = self._recent.pop(number, None)
        return self._remember(number, self.blocks.fragment(number) if data is None else data)

    def _remember(self, number: int, data: bytes) -> bytes:
        self._recent[number] = data
        if len(self._recent) > _RECENT:
            del self._recent[next(iter(self._recent))]
        return data

    def _again(self, number: int, size: int) -> int:
        self.duplicates += 1
        self.duplicate_bytes += size
        return number

    def _new(self) -> None:
        self.blocks.starts.append(0)
        self.firsts.append(self._words)
        self.fragments.append(NONE_32)
        self.offsets.append(0)

    def _block(self, number: int, block: bytes) -> None:
        self._words += 1
        self.blocks.put(number, b"" if block == self._zero else block)

    def _tail(self, tail: bytes) -> None:
        """Pack the end of the newest file into the open fragment block."""
        if not tail:
            return
        if self._tails_bytes + len(tail) > self.block_bytes:
            self._flush()
        self.fragments[-1] = self._full
        self.offsets[-1] = self._tails_bytes
        self._tails.append(tail)
        self._tails_bytes += len(tail)

    def _flush(self) -> None:
        if self._tails:
            self.blocks.put(FRAGMENTS, self._remember(self._full, b"".join(self._tails)))
            self._tails.clear()
            self._tails_bytes = 0
            self._full += 1


def _take(stream: BinaryIO, count: int, where: str) -> bytes:
    """Exactly ``count`` bytes."""
    data = read_all(stream, count)
    if len(data) < count:
        raise IntegrityError(f"{count - len(data)} bytes are missing at the end", where=where)
    return data
