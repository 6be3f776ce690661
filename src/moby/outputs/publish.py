"""Giving files their final names: all of them, or none."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# linux/fcntl.h, linux/fs.h
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def publish(made: Mapping[Path, Path], obsolete: Sequence[Path], kept: Path) -> None:
    """Rename each file of ``made`` to its final name and remove the ``obsolete`` ones.

    What was there before is kept, in ``kept``, a directory of the same file system, or under the new file's first name,
    and comes back when a step fails. Where files can change names or have several, no name is ever without its old or
    its new file. Raises ``OSError``.
    """
    for final in (*made.values(), *obsolete):
        if final.is_dir() and not final.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
    done: list[tuple[Path, Path | None]] = []
    try:
        for path, final in made.items():
            if _exchange(path, final):
                done.append((final, path))
                continue
            done.append((final, _keep(final, kept / str(len(done)))))
            path.replace(final)
        for final in obsolete:
            done.append((final, _keep(final, kept / str(len(done)))))
            final.unlink(missing_ok=True)
    except BaseException:
        for final, before in reversed(done):
            _restore(final, before)
        raise


def _exchange(path: Path, final: Path) -> bool:
    """Let two files change names in one step; False where that cannot be, or there is no ``final``.

    Renaming one over the other would have ext4 write the new one to the disk first: half a second for each GB.
    """
    if sys.platform != "linux":
        return False
    try:
        import ctypes  # slow to import
    except ImportError:  # Python may be built without it
        return False
    renameat2 = getattr(ctypes.CDLL(None), "renameat2", None)
    if renameat2 is None:
        return False
    return bool(renameat2(_AT_FDCWD, os.fsencode(path), _AT_FDCWD, os.fsencode(final), _RENAME_EXCHANGE) == 0)


def _keep(final: Path, place: Path) -> Path | None:
    """Another name for what is at ``final``; None when there is nothing."""
    try:
        os.link(final, place, follow_symlinks=False)
    except FileNotFoundError:
        return None
    except OSError:  # a file system without hard links: for a moment the name is free
        final.replace(place)
    return place


def _restore(final: Path, before: Path | None) -> None:
    with contextlib.suppress(OSError):  # the first error is the one to tell
        if before is None:
            final.unlink(missing_ok=True)
        else:
            before.replace(final)
