"""Exact reads, bounded bodies and copies over binary streams that may give less than was asked for."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from moby.errors import IntegrityError

CHUNK_BYTES = 1 << 18
SMALL_BYTES = 1 << 20
_SHOWN_CHARACTERS = 240


def shown(name: str) -> str:
    """A name for a message: quoted, so that control characters do no harm, and not longer than a line or three."""
    if len(name) <= _SHOWN_CHARACTERS:
        return repr(name)
    half = _SHOWN_CHARACTERS // 2
    return f"{name[:half]!r}…{name[-half:]!r} ({len(name)} characters)"


class Source:
    """Exact reads from a stream that may give less than was asked for."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self.where = where
        self.entry = ""
        self._stream = stream
        self._buffer = b""
        self._position = 0

    def fail(self, what: str) -> IntegrityError:
        """An error that names the archive and the entry at hand."""
        return IntegrityError(what, where=": ".join(filter(None, (self.where, self.entry and shown(self.entry)))))

    def _read(self, count: int) -> bytes:
        """At most ``count`` bytes; what is wrong with the stream is said about the entry that it cuts short."""
        try:
            return self._stream.read(count)
        except IntegrityError as error:
            if error.where != self.where or not self.entry:
                raise
            raise self.fail(error.what) from error

    def take(self, count: int) -> bytes:
        """Exactly ``count`` bytes."""
        start = self._position
        self._position = end = start + count
        if end <= len(self._buffer):
            return self._buffer[start:end]
        parts = [self._buffer[start:]]
        missing = count - len(parts[0])
        while missing > 0:
            chunk = self._read(max(missing, CHUNK_BYTES) if missing < SMALL_BYTES else SMALL_BYTES)
            if not chunk:
                raise self.fail(f"the archive is truncated: {missing} bytes are missing")
            parts.append(chunk[:missing])
            self._buffer, self._position = chunk, min(missing, len(chunk))
            missing -= len(parts[-1])
        return b"".join(parts)

    def take_or_end(self, count: int) -> bytes:
        """Exactly ``count`` bytes, or none where nothing is left."""
        start = self._position
        end = start + count
        if end <= len(self._buffer):
            self._position = end
            return self._buffer[start:end]
        return b"" if self.at_end() else self.take(count)

    def take_padded(self, size: int, padding: int) -> bytes:
        """``size`` bytes; the ``padding`` behind them is dropped."""
        end = self._position + size
        if end + padding <= len(self._buffer):
            data = self._buffer[self._position : end]
            self._position = end + padding
            return data
        return self.take(size + padding)[:size]

    def skip(self, count: int) -> None:
        """Read ``count`` bytes and drop them."""
        while count > 0:
            step = min(count, SMALL_BYTES)
            self.take(step)
            count -= step

    def peek(self, count: int) -> bytes:
        """The next ``count`` bytes, or as many as are left, without taking them."""
        while len(self._buffer) - self._position < count:
            chunk = self._read(CHUNK_BYTES)
            if not chunk:
                break
            self._buffer, self._position = self._buffer[self._position :] + chunk, 0
        return self._buffer[self._position : self._position + count]

    def at_end(self) -> bool:
        """Whether nothing is left."""
        if self._position < len(self._buffer):
            return False
        self._buffer, self._position = self._read(CHUNK_BYTES), 0
        return not self._buffer

    def drain(self) -> None:
        """Read to the end."""
        self._position = len(self._buffer)
        while not self.at_end():
            self._position = len(self._buffer)


class Body(io.RawIOBase):
    """The next ``size`` bytes of a source; ``read`` gives all that was asked for, until they end."""

    def __init__(self, source: Source, size: int) -> None:
        super().__init__()
        self._source = source
        self.left = size

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """The next ``size`` bytes, all that are left when negative. ``IntegrityError`` when the source ends early."""
        if self.closed:
            raise ValueError("read after the next entry was taken")
        count = self.left if size is None or size < 0 else min(size, self.left)
        self.left -= count
        return self._source.take(count)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; 0 at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


def read_all(stream: BinaryIO, count: int) -> bytes:
    """The next ``count`` bytes, fewer only where the stream ends."""
    data = stream.read(count)
    while len(data) < count:
        more = stream.read(count - len(data))
        if not more:
            break
        data += more
    return data


def copy(source: BinaryIO, out: BinaryIO, size: int, *, where: str) -> None:
    """Copy exactly ``size`` bytes in chunks; ``IntegrityError`` when ``source`` ends before."""
    left = size
    while left:
        chunk = source.read(min(left, SMALL_BYTES))
        if not chunk:
            raise IntegrityError(f"{size} bytes announced, {size - left} given", where=where)
        out.write(chunk)
        left -= len(chunk)
