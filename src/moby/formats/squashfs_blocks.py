"""The data area of a squashfs image: blocks compressed in parallel, written in the order they came.

Each block is a frame of its own, so the bytes do not depend on how many threads made them. They go to the threads in
groups of ``_GROUP_BYTES``, as handing over costs as much as packing a small block; as many groups as there are threads
are on their way, which bounds the memory.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import BinaryIO

import zstandard
from zlib_ng import zlib_ng

from moby.formats.compress import GZIP_LEVEL, ZSTD_LEVEL, Codec
from moby.formats.squashfs_layout import FRAGMENT, MIN_BLOCK_BYTES, RAW_DATA
from moby.formats.stream import read_all

FRAGMENTS = -1  # the owner of fragment blocks

_GROUP_BYTES = 1 << 20

Pack = Callable[[bytes], bytes]


def default_level(codec: Codec) -> int:
    """The level the other writers use too; 0 where nothing is packed."""
    return {Codec.ZSTD: ZSTD_LEVEL, Codec.GZIP: GZIP_LEVEL, Codec.NONE: 0}[codec]


def packer(codec: Codec, level: int) -> Pack | None:
    """A function that packs one block, for use by one thread at a time; None for ``Codec.NONE``."""
    if codec is Codec.ZSTD:
        return zstandard.ZstdCompressor(level=level, write_checksum=False).compress
    if codec is Codec.GZIP:
        return lambda data: bytes(zlib_ng.compress(data, level))
    return None


def _group_packer(codec: Codec, level: int) -> Callable[[list[bytes]], list[bytes]]:
    """As ``packer``, for the blocks of a group, none of which is empty."""
    if codec is Codec.ZSTD:
        compressor = zstandard.ZstdCompressor(level=level, write_checksum=False)

        def pack(blocks: list[bytes]) -> list[bytes]:
            # One call lets go of the interpreter's lock once; each time a thread waits to have it back costs both.
            made = compressor.multi_compress_to_buffer([*blocks], threads=1)
            return [made[index].tobytes() for index in range(len(blocks))]

        return pack
    one = packer(codec, level)
    assert one is not None
    return lambda blocks: [one(data) for data in blocks]


class Blocks:
    """Data and fragment blocks from ``position`` on. A context manager: its end waits for the threads.

    ``starts[owner]`` is where an owner's first block went; append 0 for each owner. ``words`` are the size words of all
    file blocks in order, ``fragments`` the fragment table.
    """

    def __init__(self, out: BinaryIO, position: int, *, codec: Codec, level: int, threads: int) -> None:
        self.position = self._highest = position
        self.starts = array("Q")
        self.words = array("I")
        self.fragments = bytearray()
        self._out = out
        self._offset = out.tell() - position
        self._group: list[tuple[int, bytes]] = []
        self._group_bytes = 0
        self._pending: deque[tuple[list[tuple[int, bytes]], Future[list[bytes]] | None]] = deque()
        self._window = threads
        self._local = threading.local()
        self._codec, self._level = codec, level
        self._pool = None if codec is Codec.NONE else ThreadPoolExecutor(threads, "squashfs")

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def put(self, owner: int, data: bytes) -> None:
        """The next block of a file, or a fragment block. An empty one is a hole."""
        self._group.append((owner, data))
        self._group_bytes += len(data)
        if self._group_bytes >= _GROUP_BYTES or len(self._group) >= _GROUP_BYTES // MIN_BLOCK_BYTES:
            self._submit()

    def finish(self) -> None:
        """Write all that is on its way."""
        self._submit()
        while self._pending:
            self._write()

    def rewind(self, owner: int, count: int) -> None:
        """Forget the ``count`` blocks of ``owner``, the last ones that were put, and that file's number."""
        self.finish()
        kept = len(self.words) - count
        if sum(self.words[kept:]):
            self.position = self.starts[owner]
            self._out.seek(self._offset + self.position)
        del self.words[kept:], self.starts[owner:]

    def same(self, one: int, other: int, first: int, count: int) -> bool:
        """Whether the last ``count`` blocks, which belong to ``one``, are those of ``other`` from word ``first`` on.

        Packed blocks are compared, which are equal when what is in them is.
        """
        self.finish()
        words = self.words[len(self.words) - count :]
        if words != self.words[first : first + count]:
            return False
        left = sum(word & ~RAW_DATA for word in words)
        here, there = self.starts[one], self.starts[other]
        while left:
            size = min(left, _GROUP_BYTES)
            if self._read(here, size) != self._read(there, size):
                return False
            here, there, left = here + size, there + size, left - size
        return True

    def fragment(self, number: int) -> bytes:
        """What was packed into a fragment block that was put."""
        if (number + 1) * FRAGMENT.size > len(self.fragments):
            self.finish()
        position, word, _ = FRAGMENT.unpack_from(self.fragments, number * FRAGMENT.size)
        data = self._read(position, word & ~RAW_DATA)
        if word & RAW_DATA:
            return data
        return zstandard.ZstdDecompressor().decompress(data) if self._codec is Codec.ZSTD else zlib_ng.decompress(data)

    def cut(self) -> None:
        """End the file at the stream's position, where blocks that were taken back may have reached beyond it."""
        if self._out.tell() - self._offset < self._highest:
            self._out.truncate()

    def _read(self, position: int, size: int) -> bytes:
        """Bytes that were written."""
        self._out.seek(self._offset + position)
        data = read_all(self._out, size)
        self._out.seek(self._offset + self.position)
        return data

    def _submit(self) -> None:
        """Let a thread pack the group."""
        group, self._group, self._group_bytes = self._group, [], 0
        pool = self._pool
        self._pending.append((group, pool.submit(self._pack, group) if pool and group else None))
        while len(self._pending) > self._window:
            self._write()

    def _pack(self, group: list[tuple[int, bytes]]) -> list[bytes]:
        pack = getattr(self._local, "pack", None)
        if pack is None:
            pack = self._local.pack = _group_packer(self._codec, self._level)
        filled = [data for _, data in group if data]
        packed = iter(pack(filled) if filled else ())
        return [next(packed) if data else b"" for _, data in group]

    def _write(self) -> None:
        """Write the oldest group."""
        group, future = self._pending.popleft()
        made = future.result() if future else [data for _, data in group]
        for (owner, data), packed in zip(group, made, strict=True):
            self._put(owner, data, packed)

    def _put(self, owner: int, data: bytes, packed: bytes) -> None:
        word = len(packed)
        if word >= len(data):
            packed, word = data, len(data) | RAW_DATA if data else 0
        if owner == FRAGMENTS:
            self.fragments += FRAGMENT.pack(self.position, word, 0)
        else:
            self.starts[owner] = self.starts[owner] or self.position
            self.words.append(word)
        self._out.write(packed)
        self.position += len(packed)
        self._highest = max(self._highest, self.position)
