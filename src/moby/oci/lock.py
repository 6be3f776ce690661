"""The store's lock: a POSIX record lock on ``.lock``, the kind that the original tool takes.

A plain POSIX lock belongs to the process and is lost when *any* descriptor of the file closes, so two threads would not
exclude each other. Linux's open-file-description locks conflict with plain ones and have neither flaw.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
from collections.abc import Iterator
from pathlib import Path

from moby.oci import blob


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Wait for and hold the lock against everyone. Raises ``PlatformError`` when ``path`` cannot be made."""
    with blob.writing(path.parent):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        _take(descriptor, fcntl.F_WRLCK)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def shared(path: Path) -> Iterator[None]:
    """Hold the lock against writers; a store that has no lock file, or one we may not read, is read without."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        yield
        return
    try:
        _take(descriptor, fcntl.F_RDLCK)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int) -> None:
    if hasattr(fcntl, "F_OFD_SETLKW"):
        # struct flock: l_type, l_whence, l_start, l_len, l_pid (must be 0), padded to the alignment of off_t.
        fcntl.fcntl(descriptor, fcntl.F_OFD_SETLKW, struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0))
    else:
        fcntl.lockf(descriptor, fcntl.LOCK_EX if kind == fcntl.F_WRLCK else fcntl.LOCK_SH)
