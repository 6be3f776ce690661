"""SHA-1 of a file's bytes while they go to somebody else."""

from __future__ import annotations

import contextlib
import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO, cast

from moby.formats.entry import Entry
from moby.formats.stream import CHUNK_BYTES

Sink = Callable[[bytes], None]


@contextlib.contextmanager
def hashed(entry: Entry, sink: Sink | None = None) -> Iterator[tuple[Entry, Callable[[], str]]]:
    """``entry`` to be passed on, and what gives the SHA-1 (hex) of its bytes afterwards.

    ``sink`` is given the bytes too, and ``b""`` at their end. What was not read of a stream is read at the end.
    """
    if isinstance(entry.data, bytes):
        if sink is not None:
            sink(entry.data)
            sink(b"")
        yield entry, hashlib.sha1(entry.data).hexdigest
        return
    reader = _Hashing(entry.data, entry.size, sink)
    yield replace(entry, data=cast(BinaryIO, reader)), reader.state.hexdigest
    while reader.read(CHUNK_BYTES):
        pass
    if sink is not None:
        sink(b"")


class _Hashing(io.RawIOBase):
    """The next ``left`` bytes of ``stream``."""

    def __init__(self, stream: BinaryIO, left: int, sink: Sink | None) -> None:
        super().__init__()
        self._stream = stream
        self._left = left
        self._sink = sink
        self.state = hashlib.sha1()

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        data = self._stream.read(self._left if size is None or size < 0 else min(size, self._left))
        self._left -= len(data)
        self.state.update(data)
        if self._sink is not None and data:
            self._sink(data)
        return data

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
