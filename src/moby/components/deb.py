"""Reads Debian binary packages: an ``ar`` archive of ``debian-binary``, ``control.tar.*`` and ``data.tar.*``.

Source: deb(5). Maintainer scripts are never run. Since Debian 12 ``/bin``, ``/sbin``, ``/lib`` and ``/lib64`` are
links into ``/usr`` (usr-merge), but packages may still ship files below the old names: those are moved here.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats import compress, tar
from moby.formats.entry import Entry, Kind, symlink

_MAGIC = b"!<arch>\n"
_HEADER_BYTES = 60
_MAX_MEMBERS = 16
_MAX_CONTROL_BYTES = 1 << 20
_LIMITS = tar.Limits(entries=200_000, file_bytes=2 << 30)
MERGED = ("bin", "lib", "lib32", "lib64", "libo32", "libx32", "sbin")
_MERGED_PREFIXES = tuple(f"{name}/" for name in MERGED)


def entries(path: Path, *, where: str) -> Iterator[Entry]:
    """The files of the package at ``path``, usr-merged, in its order; ``where`` names it in messages.

    Raises ``IntegrityError`` when it is no Debian package, is damaged, or a name leaves the tree.
    """
    with _member(path, "data.tar", where) as stream:
        for entry in tar.read(compress.decompress(stream), limits=_LIMITS, where=where):
            merged = merge(entry)
            if merged is not None:
                yield merged


def control(path: Path, *, where: str) -> dict[str, str]:
    """The fields of the package's control file; folded lines joined by newlines. Raises ``IntegrityError``."""
    with _member(path, "control.tar", where) as stream:
        for entry in tar.read(compress.decompress(stream), where=where):
            if entry.path == "control" and isinstance(entry.data, bytes) and entry.size <= _MAX_CONTROL_BYTES:
                return _fields(entry.data.decode(errors="replace"))
    raise IntegrityError("no control file", where=where)


def merge(entry: Entry) -> Entry | None:
    """``entry`` below ``usr/``; None for the old top-level directory itself, which becomes a link.

    A symlink's text stays: dpkg unpacks through the merged links and does not change it either.
    """
    if entry.path in MERGED:
        return None
    path = _below_usr(entry.path)
    target = _below_usr(entry.target) if entry.kind is Kind.HARDLINK else entry.target
    return entry if (path, target) == (entry.path, entry.target) else replace(entry, path=path, target=target)


def links(present: frozenset[str]) -> Iterator[Entry]:
    """The top-level links for those merged directories whose ``usr/NAME`` is ``present``."""
    for name in MERGED:
        if f"usr/{name}" in present:
            yield symlink(name, f"usr/{name}")


def _below_usr(path: str) -> str:
    return f"usr/{path}" if path.startswith(_MERGED_PREFIXES) else path


@contextmanager
def _member(path: Path, prefix: str, where: str) -> Iterator[BinaryIO]:
    """The body of the first member whose name starts with ``prefix``."""
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise IntegrityError("not a Debian package", where=where)
        for _ in range(_MAX_MEMBERS):
            header = file.read(_HEADER_BYTES)
            if not header:
                break
            name, size = _header(header, where)
            if name.startswith(prefix):
                yield cast(BinaryIO, io.BufferedReader(_Window(file, size, where), 1 << 18))
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise IntegrityError(f"no {prefix} in it", where=where)


def _header(header: bytes, where: str) -> tuple[str, int]:
    """Name and size in bytes of an ``ar`` member."""
    digits = header[48:58].strip()
    if len(header) < _HEADER_BYTES or header[58:] != b"`\n" or not digits.isdigit():
        raise IntegrityError("the package is truncated or its ar header is broken", where=where)
    return header[:16].decode("ascii", "replace").rstrip().rstrip("/"), int(digits)


def _fields(text: str) -> dict[str, str]:
    fields: dict[str, str] = {}
    last = ""
    for line in text.splitlines():
        if line[:1] in (" ", "\t") and last:
            fields[last] += "\n" + line
        elif ":" in line:
            last, _, value = line.partition(":")
            fields[last] = value.strip()
    return fields


class _Window(io.RawIOBase):
    """The next ``size`` bytes of ``file``; an early end is an ``IntegrityError``."""

    def __init__(self, file: BinaryIO, size: int, where: str) -> None:
        self._file = file
        self._left = size
        self._where = where

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object, /) -> int:
        """Fill ``buffer``; 0 at the end."""
        view = memoryview(cast(bytearray, buffer))
        if not self._left:
            return 0
        data = self._file.read(min(len(view), self._left))
        if not data:
            raise IntegrityError(f"the package is truncated: {self._left} bytes are missing", where=self._where)
        view[: len(data)] = data
        self._left -= len(data)
        return len(data)
