"""Locks: the exact Debian packages of a component, as a text file that diffs well.

One row per package, sorted: suite, archive, package, version, architecture, size in bytes, SHA-256, path in the
archive's pool. ``archive`` is ``debian`` or ``debian-security``; where those live is the mirror's business.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moby.errors import ConfigError

ARCHIVES = ("debian", "debian-security")
_TITLE = "# Debian packages for the moby component builder; made by `moby pkg update`."
_COLUMNS = "# suite archive package version architecture size sha256 path"
_MAX_PACKAGE_BYTES = 2 << 30
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+:~_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Package:
    """One row. ``size_bytes`` and ``sha256`` (hex) are those of the ``.deb`` at ``path`` in ``archive``."""

    package: str
    architecture: str
    version: str
    suite: str
    archive: str
    size_bytes: int
    sha256: str
    path: str

    @property
    def row(self) -> str:
        """The line of the lock."""
        return (
            f"{self.suite} {self.archive} {self.package} {self.version} {self.architecture} "
            f"{self.size_bytes} {self.sha256} {self.path}"
        )

    @classmethod
    def parse(cls, row: str, *, where: str) -> Package:
        """One row. Raises ``ConfigError`` when a column is missing or not of its kind."""
        try:
            suite, archive, package, version, architecture, size, sha256, path = row.split(" ")
        except ValueError:
            raise ConfigError("a lock row has eight columns", where=where, fix="run moby pkg update") from None
        words = all(_WORD.fullmatch(word) for word in (suite, package, version, architecture))
        sizes = size.isascii() and size.isdigit() and 0 < int(size) <= _MAX_PACKAGE_BYTES
        parts = PurePosixPath(path).parts
        inside = path.isprintable() and not path.startswith("/") and ".." not in parts and bool(parts)
        if not (words and sizes and inside and archive in ARCHIVES and _SHA256.fullmatch(sha256)):
            raise ConfigError("a lock row is malformed", where=where, fix="run moby pkg update")
        return cls(
            package=package,
            architecture=architecture,
            version=version,
            suite=suite,
            archive=archive,
            size_bytes=int(size),
            sha256=sha256,
            path=path,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """The packages of one component for one architecture.

    ``request`` is the digest of what was asked (a lock for another request is stale); ``resolved`` the time of
    resolving as ``YYYYMMDDTHHMMSSZ``, for snapshot archives; it is not part of ``digest``.
    """

    request: str
    packages: tuple[Package, ...]
    resolved: str = ""

    @property
    def digest(self) -> bytes:
        """SHA-256 of the rows."""
        return hashlib.sha256("\n".join(package.row for package in self.packages).encode()).digest()

    @property
    def text(self) -> str:
        """The file's content."""
        head = [_TITLE, f"# request {self.request}", f"# resolved {self.resolved}", _COLUMNS]
        return "\n".join([*head, *(package.row for package in self.packages)]) + "\n"

    @classmethod
    def parse(cls, text: str, *, where: str) -> Lock:
        """Raises ``ConfigError`` with ``where:line`` for a malformed row."""
        head: dict[str, str] = {}
        packages = []
        for number, line in enumerate(text.splitlines(), 1):
            if line.startswith("#"):
                key, _, value = line[1:].strip().partition(" ")
                head[key] = value
            elif line:
                packages.append(Package.parse(line, where=f"{where}:{number}"))
        return cls(request=head.get("request", ""), resolved=head.get("resolved", ""), packages=tuple(sorted(packages)))

    def write(self, path: Path) -> bool:
        """Write beside and rename, unless ``path`` holds the same rows already; whether it wrote."""
        if path.is_file():
            old = Lock.parse(path.read_text(), where=str(path))
            if old.packages == self.packages and old.request == self.request:
                return False
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(self.text)
        beside.replace(path)
        return True
