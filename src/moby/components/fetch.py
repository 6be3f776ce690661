"""Brings locked packages into ``work/debs``, named by their SHA-256, checked while they are written.

Partial downloads are kept and continued. A version the mirror has dropped is asked of the snapshot archive; when that
has none either, ``Gone`` says which packages are missing, and the caller decides whether to resolve anew.
"""

from __future__ import annotations

import fcntl
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from moby import log
from moby.components.lock import Lock, Package
from moby.components.mirror import Mirror
from moby.errors import IntegrityError, RegistryError
from moby.http import redact

if TYPE_CHECKING:
    import httpx

_PARALLEL = 8
_TRIES = 3
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


class Fetcher:
    """Downloads from ``mirror`` into ``directory``; safe beside other processes that do the same."""

    def __init__(self, client: httpx.Client, mirror: Mirror, directory: Path) -> None:
        self._client = client
        self._mirror = mirror
        self._directory = directory

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
        with part.open("ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if present(self._directory, package):
                bar.advance(package.size_bytes)
                part.unlink(missing_ok=True)
                return True
            if not any(url and self._stubborn(url, package, file, bar) for url in urls):
                part.unlink(missing_ok=True)
                return False
            part.replace(location(self._directory, package))
        return True

    def _stubborn(self, url: str, package: Package, file: BinaryIO, bar: log.Bar) -> bool:
        import httpx  # slow to import, and only needed when something is missing

        for attempt in range(1, _TRIES + 1):
            try:
                return self._get(url, package, file, bar)
            except httpx.TransportError as error:
                log.debug(f"{redact(url)}: {error!r}")
                if attempt == _TRIES:
                    raise RegistryError(
                        f"cannot fetch {redact(url)}: {error}", fix="check the network and the mirror"
                    ) from error
        return False

    def _get(self, url: str, package: Package, file: BinaryIO, bar: log.Bar) -> bool:
        """Continue the download at the file's end; True when it is whole and right."""
        have = file.seek(0, 2)
        if have >= package.size_bytes:
            have = _restart(file)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._client.stream("GET", url, headers=headers, follow_redirects=True) as response:
            if response.status_code in (404, 410):
                return False
            if response.status_code == 416 or (have and response.status_code == 200):
                have = _restart(file)
            if response.status_code not in (200, 206):
                raise RegistryError(f"{redact(url)}: {response.status_code} {response.reason_phrase}")
            bar.advance(have)
            for chunk in response.iter_raw(_CHUNK_BYTES):
                have += len(chunk)
                if have > package.size_bytes:
                    _restart(file)
                    raise IntegrityError(f"longer than the {package.size_bytes} bytes of its lock", where=redact(url))
                file.write(chunk)
                bar.advance(len(chunk))
        file.flush()
        _check(file, package, where=redact(url))
        return True


def location(directory: Path, package: Package) -> Path:
    """Where a fetched package lies."""
    return directory / f"{package.sha256}.deb"


def present(directory: Path, package: Package) -> bool:
    """Whether it is there; it was checked when it was written."""
    path = location(directory, package)
    return path.is_file() and path.stat().st_size == package.size_bytes


def _restart(file: BinaryIO) -> int:
    file.truncate(0)
    file.seek(0)
    return 0


def _check(file: BinaryIO, package: Package, *, where: str) -> None:
    """The whole file against its lock. A wrong one is emptied, so that the next try starts anew."""
    with Path(file.name).open("rb") as stream:
        got = hashlib.file_digest(stream, "sha256").hexdigest()
    size = Path(file.name).stat().st_size
    if got != package.sha256 or size != package.size_bytes:
        _restart(file)
        raise IntegrityError(
            f"{package.package}: expected sha256:{package.sha256} ({package.size_bytes} bytes), "
            f"got sha256:{got} ({size} bytes)",
            where=where,
        )
