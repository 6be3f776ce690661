"""Giving files their final names: all of them, or none."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Mapping, Sequence
from pathlib import Path


def publish(made: Mapping[Path, Path], obsolete: Sequence[Path], kept: Path) -> None:
    """Rename each file of ``made`` to its final name and remove the ``obsolete`` ones.

    What was there before is kept in ``kept``, a directory of the same file system, and comes back when a step fails.
    Where there are hard links, no name is ever without its old or its new file. Raises ``OSError``.
    """
    for final in (*made.values(), *obsolete):
        if final.is_dir() and not final.is_symlink():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(final))
    done: list[tuple[Path, Path | None]] = []
    try:
        for path, final in made.items():
            done.append((final, _keep(final, kept / str(len(done)))))
            path.replace(final)
        for final in obsolete:
            done.append((final, _keep(final, kept / str(len(done)))))
            final.unlink(missing_ok=True)
    except BaseException:
        for final, before in reversed(done):
            _restore(final, before)
        raise


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
