"""Segments in a row: the pieces of an initrd become one file, copied by the kernel where it can."""

from __future__ import annotations

import contextlib
import errno
import os
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from moby import timing
from moby.rootfs.pieces import Piece

# Where a segment may begin: Linux looks for archives at multiples of four bytes.
ALIGNMENT = 4

# What tells that two files cannot be copied within the kernel: other file systems, old kernels, special files.
_NOT_HERE = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.EPERM}
_CHUNK_BYTES = 64 << 20


def join(pieces: Iterable[Piece], out: BinaryIO) -> None:
    """Write the pieces one after another, each at a multiple of four bytes from the beginning of ``out``.

    ``out`` is an unbuffered or flushed file at its end.
    """
    for piece in pieces:
        _add(piece, out)
    out.flush()


@contextlib.contextmanager
def joining(out: BinaryIO) -> Iterator[Callable[[Piece], None]]:
    """``join`` in a thread of its own, while later pieces are made: what it gives takes them one by one.

    At the end all are written, or the thread's error is raised: by the next piece given, so that no more are made for
    nothing. When the block fails the rest is left out.
    """
    pieces: queue.SimpleQueue[Piece | None] = queue.SimpleQueue()
    failures: list[BaseException] = []
    spent_s: list[float] = []

    def work() -> None:
        try:
            while (piece := pieces.get()) is not None and not failures:
                _add(piece, out)
        except BaseException as error:  # a full disk, for instance: for whoever waits
            failures.append(error)
        spent_s.append(time.thread_time())

    def take(piece: Piece) -> None:
        if failures:
            raise failures[0]
        pieces.put(piece)

    thread = threading.Thread(target=work, name="join", daemon=True)
    thread.start()
    begin = time.perf_counter()
    try:
        yield take
    except BaseException as error:
        failures.append(error)
    pieces.put(None)
    thread.join()
    if failures:
        raise failures[0]
    out.flush()
    seconds, size = time.perf_counter() - begin, out.tell()
    timing.add("", "join", seconds=seconds, cpu_seconds=spent_s[0], size_bytes=size)


def _add(piece: Piece, out: BinaryIO) -> None:
    out.write(bytes(-out.tell() % ALIGNMENT) + piece.head)
    out.flush()
    append(piece.path, out)
    out.write(piece.tail)


def append(path: Path, out: BinaryIO) -> None:
    """Copy all of ``path`` to the end of the flushed file ``out``."""
    with path.open("rb", buffering=0) as source:
        try:
            _copy_range(source.fileno(), out.fileno(), path.stat().st_size)
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            source.seek(0)
            shutil.copyfileobj(source, out, 1 << 20)
            out.flush()


def copy(source: Path, target: Path) -> None:
    """Make ``target`` a file of its own with the same bytes."""
    with target.open("wb", buffering=0) as out:
        append(source, out)


def _copy_range(source: int, out: int, size: int) -> None:
    """As much as possible stays in the kernel, or is shared where the file system can; raises before anything else."""
    if not hasattr(os, "copy_file_range"):
        raise OSError(errno.ENOSYS, "no copy_file_range")
    left = size
    while left:
        count = os.copy_file_range(source, out, min(left, _CHUNK_BYTES))
        if not count:
            raise OSError(errno.EIO, "a file became shorter while it was copied")
        left -= count
