"""Writing files of the store so that a crash, a full disk or a lie leaves nothing under a final name."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from moby.errors import PlatformError
from moby.oci.digest import Digest, mismatch
from moby.oci.manifest import Descriptor
from moby.oci.verified import Verified

_FULL = {errno.ENOSPC, errno.EDQUOT}
_PREFIX = "moby-"
_ABANDONED_S = 60
_BATCH_BYTES = 512 << 10


def path(root: Path, digest: Digest) -> Path:
    """Where the layout at ``root`` keeps a blob."""
    return root / "blobs" / digest.algorithm / digest.hex


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn what the operating system refuses into ``PlatformError`` with a way out."""
    try:
        yield
    except OSError as error:
        why = os.strerror(error.errno) if error.errno else str(error)
        full = error.errno in _FULL
        fix = "free some space or choose another --cache directory" if full else "choose another --cache directory"
        raise PlatformError(f"cannot write to the image store: {why}", where=str(root), fix=fix) from error


def replace(target: Path, data: bytes) -> None:
    """Put ``data`` at ``target`` at once: written beside, synced, renamed."""
    with writing(target.parent):
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(data)
                _finish(stream.fileno())
            Path(name).replace(target)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        _sync_directory(target.parent)


def sweep(root: Path, *, older_than_s: float = _ABANDONED_S) -> None:
    """Remove what writers that were killed left in ``ingest/``."""
    with contextlib.suppress(OSError):
        for left in (root / "ingest").glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError), left.open("rb") as stream:
                # A writer locks its file right after making it; a minute covers that moment.
                if time.time() - os.fstat(stream.fileno()).st_mtime > older_than_s:
                    fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    left.unlink()


class Writer:
    """A blob on its way in. Use as a context manager; without ``commit`` nothing remains.

    With ``expected``, more bytes than its size are refused at once and ``commit`` compares size and digest.
    ``verified`` is told of the blob then.
    """

    def __init__(
        self, root: Path, expected: Descriptor | None, *, media_type: str, verified: Verified | None = None
    ) -> None:
        self._root = root
        self._expected = expected
        self._verified = verified
        self._media_type = expected.media_type if expected else media_type
        self._algorithm = expected.digest.algorithm if expected else "sha256"
        with writing(root):
            ingest = root / "ingest"
            ingest.mkdir(exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=_PREFIX, dir=ingest)
        # Held until the file is closed, also by a crash: ``sweep`` leaves locked files alone.
        fcntl.flock(handle, fcntl.LOCK_EX)
        self._path = Path(name)
        self._stream = os.fdopen(handle, "wb", buffering=0)
        # Few large pieces, since with each one parallel downloads wait for each other; one buffer, since memory that is
        # given back and taken anew costs more than all the rest.
        self._batch = bytearray(_BATCH_BYTES)
        self.restart()

    def restart(self) -> None:
        """Forget what was written: the source starts again at its first byte."""
        self._hash = hashlib.new(self._algorithm)
        self._filled = 0
        self.count = 0
        self._stream.seek(0)
        self._stream.truncate()

    def write(self, data: bytes) -> None:
        """Append ``data``. Raises ``IntegrityError`` past the expected size, ``PlatformError`` on a full disk."""
        if len(data) >= _BATCH_BYTES:
            self._grow(len(data))
            self._flush()
            self._out(memoryview(data))
            return
        view = memoryview(data)
        while view:
            room = self.room()
            count = min(len(room), len(view))
            room[:count] = view[:count]
            self.filled(count)
            view = view[count:]

    def room(self) -> memoryview:
        """Memory to put the next bytes in; then ``filled`` tells how many they were."""
        if self._filled == _BATCH_BYTES:
            self._flush()
        return memoryview(self._batch)[self._filled :]

    def filled(self, count: int) -> None:
        """Append the first ``count`` bytes of ``room``. Raises as ``write``."""
        self._grow(count)
        self._filled += count

    def _grow(self, count: int) -> None:
        if self._expected is not None and self.count + count > self._expected.size:
            raise mismatch(self._expected.digest, self._expected.size, None, self.count + count)
        self.count += count

    def _flush(self) -> None:
        self._out(memoryview(self._batch)[: self._filled])
        self._filled = 0

    def _out(self, view: memoryview) -> None:
        """Hash and write."""
        self._hash.update(view)
        with writing(self._root):
            while view:
                view = view[self._stream.write(view) :]

    def commit(self) -> Descriptor:
        """Check, sync and give the blob its name. Raises ``IntegrityError`` when it is not what was expected."""
        self._flush()
        digest = Digest(algorithm=self._algorithm, hex=self._hash.hexdigest())
        expected = self._expected
        if expected is not None and (digest != expected.digest or self.count != expected.size):
            raise mismatch(expected.digest, expected.size, digest, self.count)
        target = path(self._root, digest)
        with writing(self._root):
            target.parent.mkdir(parents=True, exist_ok=True)
            _finish(self._stream.fileno())
            # The directory is not synced: a name lost in a crash is a blob that is absent, and fetched again.
            self._path.replace(target)
            if self._verified is not None:
                self._verified.note(digest, self._stream)
        return expected or Descriptor(media_type=self._media_type, digest=digest, size=self.count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()
        self._path.unlink(missing_ok=True)


def _finish(descriptor: int) -> None:
    """Readable by others, since mkstemp makes private files and caches are shared; and on the disk."""
    os.fchmod(descriptor, 0o644)
    os.fsync(descriptor)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
