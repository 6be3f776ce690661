"""Files that builds make again and again, kept by the key of everything that decides them.

An entry is a directory ``KEY`` with the files and ``facts.json``: the CRC-32 of each file, and whatever its maker wants
to know again. It is made beside and renamed, so it is whole or not there, and its files are compared with their CRCs
before they are used: what a crash or a failing disk left is made again. Nothing is synced for that reason.

Users hold the lock shared; what was not used for the longest time is removed when nobody else uses the cache.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zlib_ng import zlib_ng

LIMIT_BYTES = 4 << 30

_FACTS = "facts.json"
_MAX_FACTS_BYTES = 64 << 20
_MAKING = "making-"
_CHUNK_BYTES = 1 << 20

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One entry: its directory, sizes of its files in bytes by name, and its maker's facts. ``new`` if just made."""

    folder: Path
    files: Mapping[str, int]
    facts: Facts
    new: bool

    def file(self, name: str) -> Path | None:
        """The path of a file, None when the entry has none of that name."""
        return self.folder / name if name in self.files else None


class Cache:
    """Entries below ``root``, which hold at most ``limit_bytes`` together after each use."""

    def __init__(self, root: Path, *, limit_bytes: int = LIMIT_BYTES) -> None:
        self._root = root
        self._limit_bytes = limit_bytes

    @contextlib.contextmanager
    def using(self) -> Iterator[None]:
        """Entries taken within the block stay until its end."""
        self._root.mkdir(parents=True, exist_ok=True)
        with (self._root / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield
            fcntl.flock(lock, fcntl.LOCK_UN)
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                self._shrink()

    def find(self, key: str) -> Kept | None:
        """The entry of ``key`` when it is there and whole."""
        folder = self._root / key
        try:
            with (folder / _FACTS).open("rb") as stream:
                files, facts = _decode(stream.read(_MAX_FACTS_BYTES))
            if any(_sum(folder / name) != known for name, known in files.items()):
                raise ValueError("damaged")
            os.utime(folder)
        except (OSError, ValueError, TypeError, KeyError):
            shutil.rmtree(folder, ignore_errors=True)
            return None
        return Kept(folder=folder, files={name: size for name, (size, _) in files.items()}, facts=facts, new=False)

    def make(self, key: str, maker: Callable[[Path], Facts]) -> Kept:
        """Let ``maker`` write files into a new directory and keep them, with what it returns, under ``key``.

        Facts are what JSON has. What ``maker`` raises is raised, and nothing is kept.
        """
        beside = Path(tempfile.mkdtemp(prefix=_MAKING, dir=self._root))
        try:
            facts = maker(beside)
            files = {path.name: _sum(path) for path in sorted(beside.iterdir())}
            (beside / _FACTS).write_bytes(_encode(files, facts))
            folder = self._place(beside, key)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        return Kept(folder=folder, files={name: size for name, (size, _) in files.items()}, facts=facts, new=True)

    def _place(self, beside: Path, key: str) -> Path:
        """Give the new entry its name. Another process may have made the same meanwhile, and be using it."""
        folder = self._root / key
        with contextlib.suppress(OSError):
            beside.rename(folder)
            return folder
        if folder.is_dir():
            return beside  # used from here, and swept up later
        beside.rename(folder)
        return folder

    def _shrink(self) -> None:
        """Remove what was abandoned, and the longest unused while there is too much. Nobody else is here."""
        found = []
        for folder in self._root.iterdir():
            if folder.name.startswith(_MAKING):
                shutil.rmtree(folder, ignore_errors=True)
            elif folder.is_dir():
                size = sum(each.stat().st_size for each in folder.iterdir())
                found.append((folder.stat().st_mtime_ns, folder, size))
        total = sum(size for _, _, size in found)
        for _, folder, size in sorted(found):
            if total <= self._limit_bytes:
                break
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def _sum(path: Path) -> tuple[int, int]:
    """Size in bytes and CRC-32 of a file."""
    size = checksum = 0
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            checksum = zlib_ng.crc32(view[:count], checksum)
            size += count
    return size, checksum


def _encode(files: Mapping[str, tuple[int, int]], facts: Facts) -> bytes:
    text = json.dumps({"files": files, "facts": facts}, separators=(",", ":")).encode()
    return b"%08x\n%s" % (zlib_ng.crc32(text), text)


def _decode(data: bytes) -> tuple[dict[str, tuple[int, int]], Facts]:
    """Raises ``ValueError`` when it is damaged."""
    head, _, text = data.partition(b"\n")
    if head != b"%08x" % zlib_ng.crc32(text):
        raise ValueError("damaged")
    known = json.loads(text)
    return {name: (size, checksum) for name, (size, checksum) in known["files"].items()}, known["facts"]
