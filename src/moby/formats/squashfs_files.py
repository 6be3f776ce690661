"""The contents of files in a squashfs image: cut into blocks, tails packed into fragments, duplicates stored once."""

from __future__ import annotations

import hashlib
from array import array
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.digests import Digests
from moby.formats.entry import Entry
from moby.formats.squashfs_blocks import FRAGMENTS, Blocks
from moby.formats.squashfs_layout import NONE_32
from moby.formats.stream import read_all

EMPTY = NONE_32  # the number of all files without contents


class Files:
    """Takes contents one after another and numbers them; equal contents have one number.

    Per number, some 40 bytes: where its blocks' words are in ``blocks.words``, its fragment and the offset in that.
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
        self._digests = Digests()
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
            number = self._digests.number(hashlib.sha256(data).digest())
            if number < len(self.firsts):
                return self._again(number, size)
            self._new()
            count = size // self.block_bytes
            for start in range(0, count * self.block_bytes, self.block_bytes):
                self._block(number, data[start : start + self.block_bytes])
            self._tail(data[count * self.block_bytes :] if count else data)
            return number
        return self._stream(data, size, entry.path)

    def finish(self) -> None:
        """Write what is left."""
        self._flush()
        self.blocks.finish()

    def _stream(self, data: BinaryIO, size: int, where: str) -> int:
        """Contents that come in pieces: whether they are new is known at their end."""
        digest = hashlib.sha256()
        number, count = len(self.firsts), size // self.block_bytes
        self._new()
        tail = b""
        for index in range(count + 1):
            block = _take(data, self.block_bytes if index < count else size % self.block_bytes, where)
            digest.update(block)
            if index < count:
                self._block(number, block)
            else:
                tail = block
        found = self._digests.number(digest.digest())
        if found == number:
            self._tail(tail)
            return number
        self.blocks.rewind(number, count)
        self._words -= count
        del self.firsts[number:], self.fragments[number:], self.offsets[number:]
        return self._again(found, size)

    def _again(self, number: int, size: int) -> int:
        self.duplicates += 1
        self.duplicate_bytes += size
        return number

    def _new(self) -> None:
        self.blocks.owner()
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
            self.blocks.put(FRAGMENTS, b"".join(self._tails))
            self._tails.clear()
            self._tails_bytes = 0
            self._full += 1


def _take(stream: BinaryIO, count: int, where: str) -> bytes:
    """Exactly ``count`` bytes."""
    data = read_all(stream, count)
    if len(data) < count:
        raise IntegrityError(f"{count - len(data)} bytes are missing at the end", where=where)
    return data
