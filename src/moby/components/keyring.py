"""The keys that Debian's package indexes are checked with. Only resolving needs them: a lock holds hashes."""

from __future__ import annotations

import os
from pathlib import Path

from moby.components import deb
from moby.context import Context, variable
from moby.errors import IntegrityError, PlatformError
from moby.formats.entry import Kind

# As the host's own package has them, newer name first.
PATHS = ("usr/share/keyrings/debian-archive-keyring.pgp", "usr/share/keyrings/debian-archive-keyring.gpg")


def of_host(context: Context, root: Path = Path("/")) -> Path | None:
    """``MOBY_DEBIAN_KEYRING``, else the host's own; None when it has none.

    Raises ``PlatformError`` when the named one does not exist.
    """
    named = variable(context.environment, "DEBIAN_KEYRING")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            fix = "set MOBY_DEBIAN_KEYRING to a copy of debian-archive-keyring's .gpg file, or unset it"
            raise PlatformError(f"no keyring at {path}", fix=fix)
        return path
    return next((root / path for path in PATHS if (root / path).is_file()), None)


def from_package(package: Path, directory: Path, *, where: str) -> Path:
    """The keyring of a fetched ``debian-archive-keyring`` package, written into ``directory``.

    The package is as trustworthy as the lock that pinned it. Raises ``IntegrityError`` when it holds no keyring.
    """
    target = directory / f"{package.stem}.gpg"  # apt takes keyrings by this suffix
    if target.is_file():
        return target
    for entry in deb.entries(package, where=where):
        if entry.path in PATHS and entry.kind is Kind.FILE and isinstance(entry.data, bytes):
            directory.mkdir(parents=True, exist_ok=True)
            beside = target.with_suffix(f".{os.getpid()}")
            beside.write_bytes(entry.data)
            beside.replace(target)
            return target
    raise IntegrityError("no keyring in the package", where=where)
