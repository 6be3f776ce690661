"""The ``files`` section, decided: owners, modes, and where each file's bytes come from."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from moby import metadata
from moby.config import fields
from moby.config.model import Config, FileSpec
from moby.errors import ConfigError, MobyError
from moby.formats.entry import Kind

# Asks the build host about a file; raises OSError when it is not there.
Look = Callable[[Path], os.stat_result]

_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
# Directories of the root that everybody must be able to enter.
_PUBLIC = frozenset(("bin", "dev", "etc", "home", "lib", "proc", "run", "sbin", "sys", "tmp", "usr", "var"))


@dataclass(frozen=True, slots=True, kw_only=True)
class FilePlan:
    """An entry of ``files``. ``path`` is clean and relative, ``data`` the content or the file of this host to copy."""

    index: int
    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    data: bytes | Path = b""
    target: str = ""


def files(
    config: Config, ids: Mapping[str, int], home: Path, look: Look, faults: list[MobyError]
) -> Iterator[FilePlan]:
    """The entries of ``files``; ``ids`` are the containers' numbers, and what is wrong is added to ``faults``."""
    for index, file in enumerate(config.files or ()):
        kind = Kind.DIRECTORY if file.directory else Kind.SYMLINK if file.symlink else Kind.FILE
        default = _DIRECTORY_MODE if kind is Kind.DIRECTORY else _FILE_MODE
        try:
            data = _data(file, config, home, look) if kind is Kind.FILE else b""
            if data is None:
                continue
            yield FilePlan(
                index=index,
                path=fields.file_path(file.path),
                kind=kind,
                mode=fields.octal(file.mode) if file.mode else default,
                uid=fields.user_id(file.uid, ids),
                gid=fields.user_id(file.gid, ids),
                data=data,
                target=file.symlink if kind is Kind.SYMLINK else "",
            )
        except ConfigError as error:
            place = ("files", index, "source") if file.source else ("files", index)
            faults.append(config.places.placed(error, place))


def _data(file: FileSpec, config: Config, home: Path, look: Look) -> bytes | Path | None:
    """The content of a regular file; None when it is optional and its source is missing."""
    if file.contents is not None:
        return file.contents.encode()
    if file.metadata:
        return metadata.metadata_yaml(config) if file.metadata == "yaml" else metadata.metadata_json(config)
    path = home / file.source[2:] if file.source.startswith("~/") else Path(file.source)
    try:
        status = look(path)
    except OSError as error:
        if file.optional:
            return None
        fix = "paths start from the current directory; optional: true leaves a missing file out"
        raise ConfigError(f"cannot read source {str(path)!r}: {error.strerror}", fix=fix) from error
    if not stat.S_ISREG(status.st_mode):
        fix = "name a file; whole directories come from an image"
        raise ConfigError(f"source {str(path)!r} is not a regular file", fix=fix)
    return path


def closed_directories(config: Config) -> Iterator[str]:
    """Public directories that come to be only as the parents of a private file, and so are closed to others.

    With init images the directories are theirs and keep their mode.
    """
    seen: set[str] = set()
    for index, file in enumerate(config.files or ()):
        path = fields.file_path(file.path)
        top, slash, _ = path.partition("/")
        mode = fields.octal(file.mode) if file.mode else _DIRECTORY_MODE if file.directory else _FILE_MODE
        if slash and top in _PUBLIC and top not in seen and mode & 0o007 == 0:
            where = config.places.where(("files", index))
            yield f"{where}: the mode of this file closes /{top} to everybody but root; list {top} as a directory first"
        seen.add(top)
