"""Which blobs were compared with their digests and did not change since, so that they are not hashed again.

The note about a blob is the state in which the file system had it (``unchanged.state``). Whatever writes to a blob, or
puts another in its place, changes that state, since no program can set a change time. What does not is for those only
who may write to the blob: a memory mapping, a file server of one's own. So notes count for blobs that nobody but this
user, and root, may write to, and are kept apart from the store. Damage of the disk is found by ``moby cache verify``.
"""

from __future__ import annotations

import contextlib
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from moby import unchanged
from moby.oci.digest import Digest

# Smaller ones are hashed faster than a note is read.
LEAST_BYTES = 1 << 20
_COARSE_NS = 1_000_000_000


class Verified:
    """Notes about blobs in ``folder``. They can be lost without harm."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, digest: Digest, stream: BinaryIO) -> bool:
        """Whether the blob that is open in ``stream`` was found right."""
        if not _is_noted(stream):
            return False
        known = unchanged.load(self._path(digest))
        return known is not None and known.get("state") == unchanged.state(stream.fileno())

    def note(self, digest: Digest, stream: BinaryIO) -> None:
        """The blob that is open in ``stream`` was written by this process, and is right."""
        if _is_noted(stream):
            self._save(digest, unchanged.state(stream.fileno()))

    def reader(self, digest: Digest, stream: BinaryIO) -> Callable[[], None]:
        """Call this before reading a blob, and what it gives when the blob was found right at its end.

        What changed within the tick of the clock before, or while it was read, is not noted: it may change again
        without a trace.
        """
        before, begin_ns = unchanged.state(stream.fileno()), time.time_ns()

        def found_right() -> None:
            is_settled = before[2] < begin_ns - unchanged.TICK_NS and unchanged.state(stream.fileno()) == before
            if is_settled and _is_noted(stream):
                self._save(digest, before)

        return found_right

    def _save(self, digest: Digest, state: unchanged.State) -> None:
        if state[2] % _COARSE_NS:
            with contextlib.suppress(OSError):
                unchanged.save(self._path(digest), {"state": state})

    def _path(self, digest: Digest) -> Path:
        return self._folder / f"{digest.algorithm}-{digest.hex}"


def _is_noted(stream: BinaryIO) -> bool:
    """Whether a blob is large enough to be noted, and nobody else may write to it."""
    status = os.fstat(stream.fileno())
    is_ours = status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return is_ours and status.st_size >= LEAST_BYTES
