"""Room in an EROFS image: runs of data blocks, and slots for inodes in metadata blocks between them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.erofs_layout import BLOCK_BYTES, SLOT_BYTES
from moby.formats.stream import read_all

_OPEN_BLOCKS = 8
_MAX_BLOCKS = 0xFFFFFFFE


@dataclass(slots=True)
class _Block:
    """A metadata block that still has room."""

    number: int
    used: int = 0
    data: bytearray = field(default_factory=lambda: bytearray(BLOCK_BYTES))


class Space:
    """Gives out the blocks of an image from ``first`` on, and writes to them. Positions count from the image's start.

    A few metadata blocks stay open in memory, so that what does not fit into one may leave room for something smaller.
    """

    def __init__(self, out: BinaryIO, first: int) -> None:
        self.blocks = self._highest = first
        self._out = out
        self._base = out.tell()
        self._position = 0
        self._open: list[_Block] = []

    def run(self, count: int) -> int:
        """The first of ``count`` blocks in a row."""
        start = self.blocks
        self.blocks += count
        self._highest = max(self._highest, self.blocks)
        if self.blocks > _MAX_BLOCKS:
            raise IntegrityError(f"an EROFS image of more than {_MAX_BLOCKS} blocks")
        return start

    def rewind(self, start: int) -> None:
        """Take back the run from ``start`` on, the last thing that was given out."""
        self.blocks = start

    def slot(self, size: int) -> int:
        """Where ``size`` bytes of metadata go: into one block when they fit."""
        for block in self._open:
            if block.used + size <= BLOCK_BYTES:
                return self._take(block, size)
        if size > BLOCK_BYTES:
            return self.run(-(-size // BLOCK_BYTES)) * BLOCK_BYTES
        if len(self._open) == _OPEN_BLOCKS:
            fullest = max(self._open, key=lambda each: each.used)
            self._open.remove(fullest)
            self.write(fullest.number * BLOCK_BYTES, fullest.data)
        self._open.append(_Block(self.run(1)))
        return self._take(self._open[-1], size)

    def fill(self, position: int, data: bytes) -> None:
        """Write into a slot."""
        number, offset = divmod(position, BLOCK_BYTES)
        for block in self._open:
            if block.number == number:
                block.data[offset : offset + len(data)] = data
                return
        self.write(position, data)

    def write(self, position: int, data: bytes | bytearray) -> None:
        """Write somewhere."""
        if position != self._position:
            self._out.seek(self._base + position)
        self._out.write(data)
        self._position = position + len(data)

    def read(self, position: int, size: int) -> bytes:
        """What was written, or filled into one block."""
        number, offset = divmod(position, BLOCK_BYTES)
        for block in self._open:
            if block.number == number:
                return bytes(block.data[offset : offset + size])
        self._out.seek(self._base + position)
        data = read_all(self._out, size)
        self._position = position + len(data)
        return data

    def settle(self) -> None:
        """Write the open blocks; from now on slots are filled where they lie."""
        for block in self._open:
            self.write(block.number * BLOCK_BYTES, block.data)
        self._open.clear()

    def end(self) -> int:
        """Go to the end of the image and cut off what was taken back beyond it; the image's size."""
        size = self.blocks * BLOCK_BYTES
        self._out.seek(self._base + size)
        if self._highest > self.blocks:
            self._out.truncate()
        return size

    def _take(self, block: _Block, size: int) -> int:
        position = block.number * BLOCK_BYTES + block.used
        block.used += size + -size % SLOT_BYTES
        return position
