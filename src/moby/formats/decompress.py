"""Unpacking of gzip (several members, zero padding), zstd (several frames), xz and bzip2 streams.

Memory does not grow with the input, however well it was packed; truncation is always an error.
Sources: RFC 1952 (gzip), RFC 8878 (zstd frames), the xz file format 1.2.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Generator
from functools import partial
from typing import Any, BinaryIO, Protocol, cast

import zstandard
from zlib_ng import zlib_ng

from moby.errors import IntegrityError

BLOCK_BYTES = 1 << 18  # what is read at once elsewhere: it need not be copied, and stays in a CPU's cache
_INPUT_BYTES = 1 << 18

_GZIP_MEMBER = 31  # zlib's window bits: 15, plus 16 for a gzip header and trailer
WINDOW_BYTES = 64 << 20  # xz -9, zstd --ultra -22 --long=26
_XZ_BYTES = 16 << 20  # what xz needs beside its window


class _BrokenError(Exception):
    """A fault the libraries have no exception for."""


_BROKEN: tuple[type[Exception], ...] = (
    _BrokenError,
    zlib.error,
    cast(type[Exception], zlib_ng.error),
    lzma.LZMAError,
    zstandard.ZstdError,
)


class _Unpacker(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def feed(self, data: bytes, room: int) -> bytes:
        """More input, at most ``room`` bytes of output; input that had no room is kept."""
        ...

    def full(self) -> bool:
        """Whether there may be output without more input."""
        ...


class _Inflate:
    """A gzip member."""

    def __init__(self) -> None:
        self._state = zlib_ng.decompressobj(_GZIP_MEMBER)
        self._full = False

    @property
    def eof(self) -> bool:
        return bool(self._state.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._state.unused_data)

    def feed(self, data: bytes, room: int) -> bytes:
        output = bytes(self._state.decompress(self._state.unconsumed_tail + data, room))
        self._full = len(output) == room
        return output

    def full(self) -> bool:
        return self._full


class _Patient:
    """An xz or bzip2 stream: those decompressors keep the input they have no room for."""

    def __init__(self, state: lzma.LZMADecompressor | bz2.BZ2Decompressor) -> None:
        self._state = state

    @property
    def eof(self) -> bool:
        return self._state.eof

    @property
    def unused_data(self) -> bytes:
        return self._state.unused_data

    def feed(self, data: bytes, room: int) -> bytes:
        try:
            return self._state.decompress(data, room)
        except OSError as error:  # bz2 has no exception of its own, and a failing disk is another matter
            raise _BrokenError(str(error)) from error

    def full(self) -> bool:
        return not self._state.needs_input


def _xz(window_bytes: int) -> _Unpacker:
    return _Patient(lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=window_bytes + _XZ_BYTES))


_UNPACKERS: tuple[tuple[bytes, Callable[[int], _Unpacker]], ...] = (
    (b"\x1f\x8b", lambda _: _Inflate()),
    (b"\xfd7zXZ\0", _xz),
    (b"BZh", lambda _: _Patient(bz2.BZ2Decompressor())),
)
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class _Reader(io.RawIOBase):
    """Unpacked bytes by way of a function that gives the next few, or none at the end."""

    def __init__(self, more: Callable[[], bytes]) -> None:
        super().__init__()
        self._more = more
        self._buffer = b""
        self._position = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        wanted = -1 if size is None else size
        parts: list[bytes] = []
        while wanted != 0:
            if self._position >= len(self._buffer):
                self._buffer, self._position = self._more(), 0
                if not self._buffer:
                    break
            end = len(self._buffer) if wanted < 0 else min(len(self._buffer), self._position + wanted)
            parts.append(self._buffer[self._position : end])
            self._position = end
            wanted -= len(parts[-1]) if wanted > 0 else 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readall(self) -> bytes:
        return self.read(-1)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Members:
    """The members of a gzip, xz or bzip2 file, one after another; zero bytes between and after them are padding."""

    def __init__(self, stream: BinaryIO, head: bytes, make: Callable[[], _Unpacker]) -> None:
        self._stream = stream
        self._input = head
        self._make = make
        self._member = make()

    def more(self) -> bytes:
        """The next bytes, at most ``BLOCK_BYTES``; none at the end."""
        while True:
            if self._member.eof and not self._next_member():
                return b""
            if not self._input and not self._member.full():
                self._input = self._stream.read(_INPUT_BYTES)
                if not self._input:
                    raise _BrokenError("the compressed stream is truncated")
            data, self._input = self._input, b""
            output = self._member.feed(data, BLOCK_BYTES)
            if output:
                return output

    def _next_member(self) -> bool:
        data = self._member.unused_data.lstrip(b"\0")
        while not data:
            data = self._stream.read(_INPUT_BYTES)
            if not data:
                return False
            data = data.lstrip(b"\0")
        self._member, self._input = self._make(), data
        return True


class _Structure:
    """The packed bytes of a zstd file, which are looked at as the library takes them."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._walk = _walk()
        self._wanted = next(self._walk)  # bytes of structure to collect, or to pass over when negative
        self._part = b""

    @property
    def whole(self) -> bool:
        """Whether no frame has begun that has not ended."""
        return not self._part and self._wanted == _FRAME_START

    def read(self, size: int = -1) -> bytes:
        """Packed bytes for the library."""
        data = self._stream.read(size)
        position = 0
        while position < len(data):
            step = min(abs(self._wanted) - len(self._part), len(data) - position)
            if self._wanted < 0:
                self._wanted += step
            else:
                self._part += data[position : position + step]
            position += step
            while self._wanted == len(self._part):
                self._wanted, self._part = self._walk.send(self._part), b""
        return data


class _Frames:
    """The frames of a zstd file. The library is silent when one is truncated: hence the look at their structure.

    The library's reader is not part of a cycle: the garbage collector cannot see into it, and its memory is large.
    """

    def __init__(self, stream: BinaryIO, window_bytes: int) -> None:
        self._structure = _Structure(stream)
        unpacker = zstandard.ZstdDecompressor(max_window_size=window_bytes)
        packed = cast(BinaryIO, self._structure)
        self._unpacked = unpacker.stream_reader(packed, read_across_frames=True, closefd=False)

    def more(self) -> bytes:
        """The next bytes, at most ``BLOCK_BYTES``; none at the end."""
        output = bytes(self._unpacked.read(BLOCK_BYTES))
        if not output and not self._structure.whole:
            raise _BrokenError("the compressed stream is truncated")
        return output


_FRAME_START = 5  # magic and frame header descriptor; the only place that wants five bytes


def _walk() -> Generator[int, bytes, None]:
    """A zstd file's structure (RFC 8878 section 3.1): byte counts to collect or, negative, to pass over."""
    while True:
        head = yield _FRAME_START
        if head[:4] != _ZSTD_MAGIC:
            rest = yield 3
            yield -int.from_bytes(head[4:] + rest, "little")
            continue
        descriptor = head[4]
        single = descriptor >> 5 & 1
        content_size = (single, 2, 4, 8)[descriptor >> 6]
        yield -((1 - single) + (0, 1, 2, 4)[descriptor & 3] + content_size)
        last = 0
        while not last:
            block = int.from_bytes((yield 3), "little")
            last = block & 1
            yield -(1 if block >> 1 & 3 == 1 else block >> 3)
        if descriptor & 4:
            yield -4


class _Joined(io.RawIOBase):
    """Bytes already read, then the rest of their stream."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head = head
        self._stream = stream

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if not self._head:
            return self._stream.read(-1 if size is None else size)
        if size is None or size < 0:
            head, self._head = self._head, b""
            return head + self._stream.read()
        head, self._head = self._head[:size], self._head[size:]
        return head

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def decompress(stream: BinaryIO, *, where: str = "", window_bytes: int = WINDOW_BYTES) -> BinaryIO:
    """``stream`` unpacked: gzip, zstd, xz or bzip2 by its first bytes, anything else as it is.

    ``read(n)`` gives ``n`` bytes until the end. Raises ``IntegrityError``, naming ``where``, for broken or truncated
    input and for zstd and xz streams whose window is larger than ``window_bytes``: it is held in memory.
    """
    head = b""
    while len(head) < 6 and (more := stream.read(6 - len(head))):
        head += more
    if head.startswith(_ZSTD_MAGIC):
        return _checked(_Frames(cast(BinaryIO, _Joined(head, stream)), window_bytes).more, where)
    for magic, make in _UNPACKERS:
        if head.startswith(magic):
            return _checked(_Members(stream, head, partial(make, window_bytes)).more, where)
    return cast(BinaryIO, _Joined(head, stream))


def _checked(more: Callable[[], bytes], where: str) -> BinaryIO:
    """A reader over ``more`` whose library errors are ours."""

    def guarded() -> bytes:
        try:
            return more()
        except _BROKEN as error:
            raise IntegrityError(f"the compressed stream is broken: {error}", where=where) from error

    return cast(BinaryIO, _Reader(guarded))
