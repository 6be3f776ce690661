"""Brings locked packages into ``work/debs``, named by their SHA-256, checked while they are written.

Partial downloads are kept and continued; a mirror that fails for a moment is asked again. A version that it has dropped
is asked of the snapshot archive; when that has none either, ``Gone`` says which packages are missing, and the caller
decides whether to resolve anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from io import BufferedRandom
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from moby import log
from moby.components.lock import Lock, Package
from moby.components.mirror import Mirror
from moby.errors import IntegrityError, RegistryError
from moby.http import redact, retry_after_s

if TYPE_CHECKING:
    import httpx

_PARALLEL = 8
_TRIES = 3
_MAX_WAIT_S = 60.0
# Statuses that may pass (RFC 9110, RFC 6585), and the one that says that our partial file is none of theirs.
_PASSING = frozenset({408, 416, 429, 500, 502, 503, 504})
_CHUNK_BYTES = 1 << 18


class Gone(RegistryError):
    """The mirror no longer has these packages."""

    def __init__(self, packages: Sequence[Package]) -> None:
        names = ", ".join(f"{package.package} {package.version}" for package in packages)
        super().__init__(
            f"the Debian mirror no longer has {names}",
            fix="run moby pkg update, or set MOBY_DEBIAN_SNAPSHOT to a snapshot archive",
        )
        self.packages = tuple(packages)


class _Passing(RegistryError):
    """An answer that may be another one soon, after ``wait_s`` seconds when the mirror said how many."""

    def __init__(self, what: str, *, wait_s: float | None) -> None:
        super().__init__(what, fix="try again later")
        self.wait_s = wait_s


class Fetcher:
    """Downloads from ``mirror`` into ``directory``; safe beside other processes that do the same.

    ``sleep`` waits between attempts.
    """

    def __init__(
        self,
        client: httpx.Client,
        mirror: Mirror,
        directory: Path,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._mirror = mirror
        self._directory = directory
        self._sleep = sleep

    def fetch(self, lock: Lock, *, name: str) -> tuple[Path, ...]:
        """Paths of the packages of ``lock``, in its order.

        Raises ``Gone`` for dropped versions, ``RegistryError`` when the mirror fails, ``IntegrityError`` when it gives
        other bytes than the lock says.
        """
        missing = [package for package in lock.packages if not present(self._directory, package)]
        if missing:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._download(missing, lock, name)
        return tuple(location(self._directory, package) for package in lock.packages)

    def _download(self, missing: list[Package], lock: Lock, name: str) -> None:
        total = sum(package.size_bytes for package in missing)
        gone: list[Package] = []
        title = f"Fetching {len(missing)} package{'s' * (len(missing) > 1)} for {name}"
        from concurrent.futures import ThreadPoolExecutor  # slow to import, and most packages are there

        with log.bar(title, total) as bar, ThreadPoolExecutor(_PARALLEL) as pool:
            tasks = [(package, pool.submit(self._one, package, lock, bar)) for package in missing]
            try:
                for package, task in tasks:
                    if not task.result():
                        gone.append(package)
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        if gone:
            raise Gone(gone)

    def _one(self, package: Package, lock: Lock, bar: log.Bar) -> bool:
        """Bring one package; False when no archive has it."""
        path = quote(package.path, safe="/+~:")
        urls = (
            self._mirror.url(package.archive, path),
            self._mirror.snapshot_url(package.archive, path, lock.resolved),
        )
        part = self._directory / f"{package.sha256}.part"
        with _locked(part) as file:
            if present(self._directory, package):
                bar.advance(package.size_bytes)
            elif any(url and self._stubborn(url, package, file, bar) for url in urls):
                part.replace(location(self._directory, package))
                return True
            else:
                part.unlink()
                return False
            part.unlink()
        return True

    def _stubborn(self, url: str, package: Package, file: BufferedRandom, bar: log.Bar) -> bool:
        import httpx  # slow to import, and only needed when something is missing

        for attempt in range(1, _TRIES + 1):
            wait_s: float | None = None
            try:
                return self._get(url, package, file, bar)
            except _Passing as error:
                wait_s = error.wait_s
                if attempt == _TRIES or (wait_s or 0) > _MAX_WAIT_S:
                    raise
                log.debug(str(error))
            except httpx.TransportError as error:
                log.debug(f"{redact(url)}: {error!r}")
                if attempt == _TRIES:
                    raise RegistryError(
                        f"cannot fetch {redact(url)}: {error}", fix="check the network and the mirror"
                    ) from error
            self._sleep(0.5 * 2**attempt if wait_s is None else wait_s)
        raise AssertionError("unreachable")

    def _get(self, url: str, package: Package, file: BufferedRandom, bar: log.Bar) -> bool:
        """Continue the download at the file's end; True when it is whole and right, False when it is not there."""
        have = file.seek(0, os.SEEK_END)
        if have >= package.size_bytes:
            have = _restart(file)
        # What is checked are the bytes as the archive has them.
        headers = {"Accept-Encoding": "identity", **({"Range": f"bytes={have}-"} if have else {})}
        with self._client.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code in (404, 410):
                return False
            answered = response.status_code in (200, 206, 416)
            if have and answered and not response.headers.get("content-range", "").startswith(f"bytes {have}-"):
                have = _restart(file)
            _refuse_unless_good(response, url, restarted=not have)
            bar.advance(have)
            for chunk in response.iter_raw(_CHUNK_BYTES):
                have += len(chunk)
                if have > package.size_bytes:
                    _restart(file)
                    raise IntegrityError(f"longer than the {package.size_bytes} bytes of its lock", where=redact(url))
                file.write(chunk)
                bar.advance(len(chunk))
        _check(file, package, where=redact(url))
        return True


def location(directory: Path, package: Package) -> Path:
    """Where a fetched package lies."""
    return directory / f"{package.sha256}.deb"


def present(directory: Path, package: Package) -> bool:
    """Whether it is there; it was checked when it was written."""
    path = location(directory, package)
    return path.is_file() and path.stat().st_size == package.size_bytes


def _restart(file: BufferedRandom) -> int:
    file.truncate(0)
    file.seek(0)
    return 0


def _check(file: BufferedRandom, package: Package, *, where: str) -> None:
    """The whole file against its lock. A wrong one is emptied, so that the next try starts anew."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    got = hashlib.file_digest(file, "sha256").hexdigest()
    if got != package.sha256 or size != package.size_bytes:
        _restart(file)
        raise IntegrityError(
            f"{package.package}: expected sha256:{package.sha256} ({package.size_bytes} bytes), "
            f"got sha256:{got} ({size} bytes)",
            where=where,
        )


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[BufferedRandom]:
    """The partial file, made when it is missing, for us alone.

    Whoever had the lock before may have renamed or removed the file; then it is no longer the one of that name, and the
    name is opened again.
    """
    while True:
        with part.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if _is_named(file, part):
                yield file
                return


def _is_named(file: BufferedRandom, part: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), part.stat())
    except FileNotFoundError:
        return False


def _refuse_unless_good(response: httpx.Response, url: str, *, restarted: bool) -> None:
    """Raise ``RegistryError``, ``_Passing`` for what may pass, unless the answer is the file or the rest asked for."""
    what = f"{redact(url)}: {response.status_code} {response.reason_phrase}"
    if response.status_code in _PASSING or (restarted and response.status_code == 206):
        raise _Passing(what, wait_s=retry_after_s(response.headers.get("retry-after", "")))
    if response.status_code not in (200, 206):
        raise RegistryError(what)
