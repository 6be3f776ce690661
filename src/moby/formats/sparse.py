"""Raw disk images, most of which are nothing: reading only what is data, and leaving holes where zeros would go.

Holes are found where the file system tells of them (``SEEK_DATA`` and ``SEEK_HOLE``, lseek(2)), so that a 10 GiB image
with little in it is read in the time of that little. Data is then looked at for zeros, since not every file system
does, and not every writer leaves holes.
"""

from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

CHUNK_BYTES = 1 << 20
_ZEROS = bytes(CHUNK_BYTES)


def size_of(disk: BinaryIO) -> int:
    """Bytes from the start of a seekable stream to its end; its position is lost."""
    return disk.seek(0, io.SEEK_END)


def is_zero(data: bytes | memoryview) -> bool:
    """Whether there is nothing but zero bytes in ``data``, of any length."""
    view = memoryview(data)
    return all(
        view[start : start + CHUNK_BYTES] == _ZEROS[: min(CHUNK_BYTES, len(view) - start)]
        for start in range(0, len(view), CHUNK_BYTES)
    )


def extents(disk: BinaryIO) -> Iterator[tuple[int, int]]:
    """Start and end in bytes of each part of ``disk`` that may hold data, in order; holes lie between.

    All of it is one such part where the stream cannot tell. ``disk`` may be moved about between two of them.
    """
    size, end = size_of(disk), 0
    while end < size:
        try:
            start = disk.seek(end, os.SEEK_DATA)
            end = disk.seek(start, os.SEEK_HOLE)
        except (OSError, ValueError, AttributeError) as error:
            if isinstance(error, OSError) and error.errno == errno.ENXIO:
                return  # nothing but a hole up to the end
            yield end, size
            return
        yield start, min(end, size)


def blocks(disk: BinaryIO, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """Number and bytes of each block of ``disk`` that is not all zeros; the last one is filled up with zeros.

    ``disk`` must not be moved while they are taken.
    """
    done = 0
    for start, end in extents(disk):
        first, last = max(done, start // block_bytes), -(-end // block_bytes)
        disk.seek(first * block_bytes)
        yield from _nonzero(disk, first, last, block_bytes)
        done = max(done, last)


def _nonzero(disk: BinaryIO, first: int, last: int, block_bytes: int) -> Iterator[tuple[int, bytes]]:
    """The non-zero blocks from ``first`` up to ``last``, read in chunks of at least one block."""
    step = max(1, CHUNK_BYTES // block_bytes)
    for number in range(first, last, step):
        chunk = disk.read(min(step, last - number) * block_bytes)
        for index, start in enumerate(range(0, len(chunk), block_bytes)):
            block = chunk[start : start + block_bytes]
            if not is_zero(block):
                yield number + index, block.ljust(block_bytes, b"\0")


def copy(disk: BinaryIO, out: BinaryIO, *, block_bytes: int = 1 << 16) -> int:
    """Copy ``disk`` to an empty seekable ``out`` with a hole for each block of zeros; give its size in bytes."""
    size = size_of(disk)
    for number, block in blocks(disk, block_bytes):
        start = number * block_bytes
        out.seek(start)
        out.write(block[: size - start])
    grow(out, size)
    return size


def put(out: BinaryIO, start: int, data: bytes, *, block_bytes: int = 1 << 16) -> None:
    """Write ``data`` where ``out`` ends or holds zeros, with holes for its blocks of zeros."""
    view = memoryview(data)
    for at in range(0, len(data), block_bytes):
        block = view[at : at + block_bytes]
        if not is_zero(block):
            out.seek(start + at)
            out.write(block)


def grow(out: BinaryIO, size: int) -> None:
    """Make ``out`` ``size`` bytes long, with a hole at its end, and go there; a longer one is left as it is."""
    if out.seek(0, io.SEEK_END) < size:
        out.truncate(size)
        # An in-memory stream is cut but never lengthened by truncate.
        if out.seek(0, io.SEEK_END) < size:
            out.seek(size - 1)
            out.write(b"\0")
