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
    with _made(path) as descriptor:
        _take(descriptor, fcntl.F_WRLCK)
        yield


@contextlib.contextmanager
def in_use(path: Path) -> Iterator[None]:
    """Hold the lock against ``alone``, with any number of others; where it cannot be made, nobody can delete either."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError:
        yield
        return
    try:
        _take(descriptor, fcntl.F_RDLCK)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(path: Path) -> Iterator[bool]:
    """Hold the lock against everyone if nobody has it: False when somebody does. Raises ``PlatformError``."""
    with _made(path) as descriptor:
        yield _take(descriptor, fcntl.F_WRLCK, wait=False)


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


@contextlib.contextmanager
def _made(path: Path) -> Iterator[int]:
    """A descriptor of the lock's file. Raises ``PlatformError``."""
    with blob.writing(path.parent):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _take(descriptor: int, kind: int, *, wait: bool = True) -> bool:
    """False when somebody else has the lock and we do not wait."""
    try:
        if hasattr(fcntl, "F_OFD_SETLKW"):
            # struct flock: l_type, l_whence, l_start, l_len, l_pid (must be 0), padded to the alignment of off_t.
            command = fcntl.F_OFD_SETLKW if wait else fcntl.F_OFD_SETLK
            fcntl.fcntl(descriptor, command, struct.pack("hhqqi0q", kind, os.SEEK_SET, 0, 0, 0))
        else:
            flags = fcntl.LOCK_EX if kind == fcntl.F_WRLCK else fcntl.LOCK_SH
            fcntl.lockf(descriptor, flags if wait else flags | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        if wait:
            raise
        return False
    return True
