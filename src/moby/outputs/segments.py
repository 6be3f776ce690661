"""Segments in a row: the pieces of an initrd become one file, copied by the kernel where it can."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

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
        out.write(bytes(-out.tell() % ALIGNMENT) + piece.head)
        out.flush()
        append(piece.path, out)
        out.write(piece.tail)
    out.flush()


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
