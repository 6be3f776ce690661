"""Which blobs were compared with their digests and did not change since, so that they are not hashed again.

The note about a blob is the state in which the file system had it (``unchanged.state``): no program can set the change
time, so that whatever alters a blob, or puts another in its place, makes its note worthless. Notes are kept apart from
the store: what others say of a store that is shared counts for nothing.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from moby import unchanged
from moby.oci.digest import Digest

# Smaller ones are hashed faster than a note is read.
LEAST_BYTES = 1 << 20
_COARSE_NS = 1_000_000_000


class Verified:
    """Notes about blobs in ``folder``. They can be lost without harm."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def holds(self, digest: Digest, state: unchanged.State) -> bool:
        """Whether the blob that is in this state was found right."""
        if state[0] < LEAST_BYTES:
            return False
        known = unchanged.load(self._path(digest))
        return known is not None and known.get("state") == state

    def note(self, digest: Digest, state: unchanged.State) -> None:
        """A blob was found right, and nobody else had it open for writing in this state."""
        if state[0] >= LEAST_BYTES and state[2] % _COARSE_NS:
            with contextlib.suppress(OSError):
                unchanged.save(self._path(digest), {"state": state})

    def note_read(self, digest: Digest, state: unchanged.State, begin_ns: int) -> None:
        """As ``note``, of what was in this state when it began to be read at ``begin_ns`` and still is at its end.

        What changed within the tick of the clock before may change again without a trace, and is not noted.
        """
        if state[2] < begin_ns - unchanged.TICK_NS:
            self.note(digest, state)

    def _path(self, digest: Digest) -> Path:
        return self._folder / f"{digest.algorithm}-{digest.hex}"
