"""Views of a part of something, or of something in blocks, as a seekable stream to read from."""

from __future__ import annotations

import bisect
import io
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO, cast


class _View(io.RawIOBase):
    """``size`` bytes; ``_at(position, count)`` gives some, but at least one, of those asked for."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        count = min(len(buffer), self.size - self._position)
        if count <= 0:
            return 0
        data = self._at(self._position, count)
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)

    def _at(self, position: int, count: int) -> bytes:
        raise NotImplementedError


class _Window(_View):
    def __init__(self, stream: BinaryIO, offset: int, size: int) -> None:
        super().__init__(size)
        self._stream = stream
        self._offset = offset

    def _at(self, position: int, count: int) -> bytes:
        self._stream.seek(self._offset + position)
        return self._stream.read(count)


class _Blocks(_View):
    def __init__(self, size: int, block_bytes: int, block: Callable[[int], bytes | None]) -> None:
        super().__init__(size)
        self._block_bytes = block_bytes
        self._block = block
        self._zeros = bytes(block_bytes)

    def _at(self, position: int, count: int) -> bytes:
        number, start = divmod(position, self._block_bytes)
        data = self._block(number)
        return (self._zeros if data is None else data)[start : start + count]


class _Mapped(_View):
    def __init__(self, stream: BinaryIO, size: int, block_bytes: int, place: Callable[[int], int | None]) -> None:
        super().__init__(size)
        self._stream = stream
        self._block_bytes = block_bytes
        self._place = place

    def _at(self, position: int, count: int) -> bytes:
        number, start = divmod(position, self._block_bytes)
        count = min(count, self._block_bytes - start)
        place = self._place(number)
        if place is None:
            return bytes(count)
        self._stream.seek(place + start)
        return self._stream.read(count).ljust(count, b"\0")


class _Sparse(_View):
    def __init__(self, stream: BinaryIO, size: int, extents: Sequence[tuple[int, int, int]]) -> None:
        super().__init__(size)
        self._stream = stream
        self._extents = extents

    def _at(self, position: int, count: int) -> bytes:
        index = bisect.bisect_right(self._extents, position, key=lambda each: each[0])
        following = self._extents[index][0] if index < len(self._extents) else self.size
        start, length, place = self._extents[index - 1] if index else (0, 0, 0)
        if position < start + length:
            count = min(count, start + length - position)
            self._stream.seek(place + position - start)
            return self._stream.read(count).ljust(count, b"\0")
        return bytes(min(count, following - position))


def window(stream: BinaryIO, offset: int, size: int) -> BinaryIO:
    """``size`` bytes of the seekable ``stream`` from ``offset`` on, fewer where it ends before. Reading moves it."""
    end = stream.seek(0, io.SEEK_END)
    return cast(BinaryIO, io.BufferedReader(_Window(stream, offset, max(0, min(size, end - offset))), 1 << 16))


def blocks(size: int, block_bytes: int, block: Callable[[int], bytes | None]) -> BinaryIO:
    """A disk of ``size`` bytes whose blocks ``block`` gives by number, whole; None is one of zeros."""
    return cast(BinaryIO, io.BufferedReader(_Blocks(size, block_bytes, block), max(block_bytes, 1 << 16)))


def mapped(stream: BinaryIO, size: int, block_bytes: int, place: Callable[[int], int | None]) -> BinaryIO:
    """A disk of ``size`` bytes whose blocks lie in ``stream`` where ``place`` says; None is one of zeros."""
    return cast(BinaryIO, io.BufferedReader(_Mapped(stream, size, block_bytes, place), 1 << 16))


def sparse(stream: BinaryIO, size: int, extents: Sequence[tuple[int, int, int]]) -> BinaryIO:
    """A file of ``size`` bytes with holes; ``extents`` are start, length and place in ``stream`` of what it has.

    They are sorted and do not overlap.
    """
    return cast(BinaryIO, io.BufferedReader(_Sparse(stream, size, extents), 1 << 16))
