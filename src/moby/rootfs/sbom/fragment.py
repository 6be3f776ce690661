"""What one part of the root adds to the SBOM: made while its files stream by, kept for builds to come.

A fragment is a file: a line of JSON that tells the length of each section and the SHA-256 of all that follows, then
the sections, one element a line with a comma behind it, so that a whole section can be copied into a document. One that
is damaged is made again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from moby.formats.spdx import SECTIONS

# Paths that are no files, as JSON strings: they may stand where another part has a file.
OTHERS = "others"
END = b",\n"
_SECTIONS = (*SECTIONS, OTHERS)
_MAX_HEAD_BYTES = 1 << 12
_MAX_LINE_BYTES = 32 << 20
_CHUNK_BYTES = 1 << 20
_LINES = 1024
_MAX_CACHE_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class Fragment:
    """The sections of one part, each at an offset and of a length in bytes within ``path``.

    ``code`` is the verification code of its files, empty when it has none; ``sha256`` (hex) is of all sections.
    """

    path: Path
    sections: Mapping[str, tuple[int, int]]
    code: str
    sha256: str

    def lines(self, section: str) -> Iterator[bytes]:
        """The elements of one section, in the order in which they were added."""
        offset, left = self.sections[section]
        if not left:
            return
        with self.path.open("rb") as stream:
            stream.seek(offset)
            while left:
                line = stream.readline(_MAX_LINE_BYTES)
                left -= len(line)
                yield line[: -len(END)]

    def pieces(self, section: str) -> Iterator[bytes]:
        """One section with ``END`` between its elements, in pieces."""
        offset, size = self.sections[section]
        with self.path.open("rb") as stream:
            stream.seek(offset)
            left = max(0, size - len(END))
            while left and (data := stream.read(min(left, _CHUNK_BYTES))):
                left -= len(data)
                yield data


class Writer:
    """A fragment being written. Elements of different sections may come in any order."""

    def __init__(self) -> None:
        self._spools: dict[str, IO[bytes]] = {}
        self._waiting: defaultdict[str, list[bytes]] = defaultdict(list)

    def add(self, section: str, line: bytes) -> None:
        """One element, without a newline."""
        waiting = self._waiting[section]
        waiting.append(line)
        if len(waiting) >= _LINES:
            self._spool(section)

    def _spool(self, section: str) -> None:
        """Write the lines that wait: one write for many is several times as fast."""
        lines = self._waiting.pop(section)
        spool = self._spools.get(section)
        if spool is None:
            spool = self._spools[section] = tempfile.TemporaryFile()  # noqa: SIM115 - see close
        spool.write(END.join((*lines, b"")))

    def commit(self, path: Path, *, code: str) -> Fragment:
        """Put the fragment at ``path`` at once and free what it took."""
        for section in list(self._waiting):
            self._spool(section)
        lengths = {name: self._spools[name].tell() if name in self._spools else 0 for name in _SECTIONS}
        digest = hashlib.sha256()
        for spool in self._ordered():
            while data := spool.read(_CHUNK_BYTES):
                digest.update(data)
        head = json.dumps({"sections": lengths, "code": code, "sha256": digest.hexdigest()}).encode() + b"\n"
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as out:
            try:
                out.write(head)
                for spool in self._ordered():
                    shutil.copyfileobj(spool, out, _CHUNK_BYTES)
                out.flush()
                Path(out.name).replace(path)
            except BaseException:
                Path(out.name).unlink(missing_ok=True)
                raise
        self.close()
        return Fragment(path, _placed(lengths, len(head)), code, digest.hexdigest())

    def close(self) -> None:
        """Drop what was not committed."""
        for spool in self._spools.values():
            spool.close()

    def _ordered(self) -> Iterator[IO[bytes]]:
        for name in _SECTIONS:
            if spool := self._spools.get(name):
                spool.seek(0)
                yield spool


class Cache:
    """Fragments by key in a directory, which holds at most 256 MiB after each change."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, key: str) -> Fragment | None:
        """The fragment of ``key`` when it is there and whole."""
        path = self._folder / key
        try:
            with path.open("rb") as stream:
                head = stream.readline(_MAX_HEAD_BYTES)
                known = json.loads(head)
                if hashlib.file_digest(stream, "sha256").hexdigest() != known["sha256"]:
                    return None
            os.utime(path)
            return Fragment(path, _placed(known["sections"], len(head)), str(known["code"]), known["sha256"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def keep(self, key: str, writer: Writer, *, code: str) -> Fragment:
        """Put what was written under ``key``; those longest unused go when there is too much."""
        made = writer.commit(self._folder / key, code=code)
        self._shrink(made.path)
        return made

    def _shrink(self, newest: Path) -> None:
        with contextlib.suppress(OSError):
            status = {path: path.stat() for path in self._folder.iterdir() if path != newest}
            total = newest.stat().st_size + sum(each.st_size for each in status.values())
            for path in sorted(status, key=lambda path: status[path].st_mtime_ns):
                if total <= _MAX_CACHE_BYTES:
                    break
                path.unlink(missing_ok=True)
                total -= status[path].st_size


def _placed(lengths: Mapping[str, int], start: int) -> dict[str, tuple[int, int]]:
    placed = {}
    for name in _SECTIONS:
        placed[name] = (start, lengths[name])
        start += lengths[name]
    return placed
