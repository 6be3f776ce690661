"""Compression of streams: deterministic writers; ``decompress`` finds out by itself what it is given.

The same bytes must come out on every CPU and architecture, since outputs are compared by hash:

- gzip is zlib-ng's deflate at one fixed level, fed in blocks of 1 MiB, in a header of our own (RFC 1952: no name,
  MTIME 0, OS 255 "unknown"). Level 2 was chosen by measuring 100 MB of ``/usr`` on one core: level 1 gives 50.6 MB at
  239 MB/s, 2 gives 43.0 MB at 133 MB/s, 3 gives 41.9 MB at 116 MB/s, 4 gives 41.4 MB at 98 MB/s, 5 gives 41.0 MB at
  89 MB/s, 6 gives 41.0 MB at 79 MB/s. Past 2 the time buys almost nothing.
- zstd (RFC 8878) is level 3, one thread, fed in blocks of 1 MiB, without content size: 36.7 MB at 266 MB/s on the same
  sample. No checksum: the kernel's decompressor accepts frames with or without, and what we write is hashed anyway.

Both libraries are pinned exactly in ``pyproject.toml``; tests hold golden hashes and compare them with what emulated
CPUs make: qemu64 (no SSE4), Nehalem, Haswell and arm64.
"""

from __future__ import annotations

import enum
import io
import queue
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO, Protocol, cast

import zstandard
from zlib_ng import zlib_ng

from moby.formats.decompress import decompress

__all__ = ["GZIP_LEVEL", "ZSTD_LEVEL", "Codec", "compressor", "decompress"]

GZIP_LEVEL = 2
ZSTD_LEVEL = 3
BLOCK_BYTES = 1 << 20
WAITING_BLOCKS = 4

_GZIP_HEADER = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))


class Codec(enum.StrEnum):
    """How a stream is packed."""

    NONE = "none"
    GZIP = "gzip"
    ZSTD = "zstd"


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


class _Gzip:
    """One gzip member."""

    def __init__(self) -> None:
        self._deflate = zlib_ng.compressobj(GZIP_LEVEL, zlib_ng.DEFLATED, -15)
        self._check = 0
        self._size = 0
        self._head = _GZIP_HEADER

    def compress(self, data: bytes) -> bytes:
        self._check = zlib_ng.crc32(data, self._check)
        self._size += len(data)
        head, self._head = self._head, b""
        return head + self._deflate.compress(data)

    def flush(self) -> bytes:
        tail = self._check.to_bytes(4, "little") + (self._size & 0xFFFFFFFF).to_bytes(4, "little")
        return self._head + self._deflate.flush() + tail


class _Stored:
    def compress(self, data: bytes) -> bytes:
        return data

    def flush(self) -> bytes:
        return b""


def _zstd() -> _Packer:
    packer = zstandard.ZstdCompressor(level=ZSTD_LEVEL, threads=0, write_checksum=False, write_content_size=False)
    return cast(_Packer, packer.compressobj())


_PACKERS: dict[Codec, Callable[[], _Packer]] = {Codec.NONE: _Stored, Codec.GZIP: _Gzip, Codec.ZSTD: _zstd}


class _Here:
    """Packs blocks at once."""

    def __init__(self, packer: _Packer, out: BinaryIO) -> None:
        self._packer = packer
        self._out = out

    def pack(self, block: bytes) -> None:
        self._out.write(self._packer.compress(block))

    def finish(self, block: bytes) -> None:
        self._out.write(self._packer.compress(block) + self._packer.flush())

    def abandon(self) -> None:
        """Nothing is under way."""


class _Beside:
    """Packs blocks in a thread of its own, a few of which may wait: the libraries work without the interpreter's lock.

    After an error it takes blocks without packing them, so that nobody waits for it, and the error comes out of the
    next call.
    """

    def __init__(self, packer: _Packer, out: BinaryIO, spent: Callable[[float], None]) -> None:
        self._work = _Here(packer, out)
        self._spent = spent
        self._blocks: queue.SimpleQueue[tuple[bytes, bool] | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(WAITING_BLOCKS)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="compress", daemon=True)
        self._thread.start()

    def pack(self, block: bytes) -> None:
        self._room.acquire()
        self._check()
        self._blocks.put((block, False))

    def finish(self, block: bytes) -> None:
        self._blocks.put((block, True))
        self._join()
        self._check()

    def abandon(self) -> None:
        """Wait until the thread has ended, without what still waits for it."""
        self._error = self._error or RuntimeError("abandoned")
        self._join()

    def _join(self) -> None:
        self._blocks.put(None)
        self._thread.join()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        while (given := self._blocks.get()) is not None:
            block, last = given
            try:
                if self._error is None:
                    self._work.finish(block) if last else self._work.pack(block)
            except BaseException as error:  # a full disk, for instance: for whoever writes
                self._error = error
            self._room.release()
        self._spent(time.thread_time())


class _Writer(io.RawIOBase):
    """Packs what is written to it. ``close`` ends the packed stream and leaves ``out`` open."""

    def __init__(self, work: _Here | _Beside) -> None:
        super().__init__()
        self._work = work
        self._pending: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        # Always whole blocks: a compressor's output may depend on how its input was cut.
        self._pending.append(data if type(data) is bytes else bytes(data))
        self._size += len(data)
        if self._size >= BLOCK_BYTES:
            joined = b"".join(self._pending)
            whole = len(joined) - len(joined) % BLOCK_BYTES
            for start in range(0, whole, BLOCK_BYTES):
                self._work.pack(joined[start : start + BLOCK_BYTES])
            self._pending = [joined[whole:]]
            self._size -= whole
        return len(data)

    def __exit__(self, kind: Any, *rest: Any) -> None:
        # After an error the packed stream is not ended: half of it must not look like the whole.
        if kind is None:
            self.close()
        else:
            self._work.abandon()

    def close(self) -> None:
        if not self.closed:
            super().close()
            self._work.finish(b"".join(self._pending))
            self._pending.clear()

    def __del__(self) -> None:
        """Collected unclosed after an error: write nothing more."""


def compressor(codec: Codec, out: BinaryIO, *, spent: Callable[[float], None] | None = None) -> BinaryIO:
    """A stream that packs into ``out``; a context manager whose end writes the last bytes and leaves ``out`` open.

    Left by an exception, it writes no end, so that what was written cannot be taken for a whole stream. With ``spent``
    it works in a thread of its own, which is the only one to write to ``out`` meanwhile, and says at the end how many
    seconds of CPU that took. The bytes are the same.
    """
    packer = _PACKERS[codec]()
    return cast(BinaryIO, _Writer(_Here(packer, out) if spent is None else _Beside(packer, out, spent)))
