"""The directory beside the outputs in which they are made, and what killed builds left of theirs.

A build holds a lock on a file in its directory for as long as it lives, so what can be locked belongs to nobody. Users
have directories of their own there, an image store for one: only the names that ``scratch`` gives are ever looked at.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

_PREFIX = ".moby-build-"
# What ``tempfile.mkdtemp`` makes of it.
_OURS = re.compile(re.escape(_PREFIX) + "[a-z0-9_]{8}")
_LOCK = ".moby-build.lock"
# How long a directory may be there before its lock is.
_YOUNG_S = 60


@contextlib.contextmanager
def scratch(place: Path) -> Iterator[Path]:
    """A new directory in ``place``, gone at the end; what killed builds left there goes first.

    Raises ``OSError`` when it cannot be made.
    """
    sweep(place)
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        descriptor = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            # Another build may have taken it for abandoned in the moment before it was locked.
            if os.fstat(descriptor).st_nlink:
                try:
                    yield folder
                finally:
                    _clear(folder)
                return
        finally:
            os.close(descriptor)


def sweep(place: Path) -> None:
    """Remove the directories in ``place`` whose builds are dead."""
    for left in place.glob(f"{_PREFIX}*"):
        if not _OURS.fullmatch(left.name):
            continue
        with contextlib.suppress(OSError):
            status = left.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid():
                _remove(left)


def _remove(left: Path) -> None:
    try:
        descriptor = os.open(left / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        if time.time() - left.stat().st_mtime > _YOUNG_S:
            left.rmdir()  # killed before it had a lock; anything that is not empty is not ours
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _clear(left)
    finally:
        os.close(descriptor)


def _clear(folder: Path) -> None:
    """Remove a directory whose lock we hold: the lock last, so that one who is killed here leaves what can be swept."""
    with contextlib.suppress(OSError):
        for each in folder.iterdir():
            if each.is_dir() and not each.is_symlink():
                shutil.rmtree(each, ignore_errors=True)
            elif each.name != _LOCK:
                each.unlink(missing_ok=True)
        (folder / _LOCK).unlink()
        folder.rmdir()
