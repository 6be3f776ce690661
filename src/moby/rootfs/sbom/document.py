"""The SPDX document of a whole root file system, put together from the fragments of its parts."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from typing import IO

from moby.formats import spdx
from moby.rootfs.sbom.fragment import OTHERS, Fragment
from moby.rootfs.sbom.parts import CONFIGURATION, Part, configuration, machine

NAME = "sbom"
CREATORS = ("Organization: Moby", "Tool: moby")
_PATH_START = b'"fileName":'
_SHA1_START = b'"checksumValue":"'
_SHA1_DIGITS = 40
_CHUNK_BYTES = 1 << 20

Given = tuple[Part, Fragment]


class Document:
    """The SBOM of ``given``, the parts in their order, and of ``own``: files of the YAML with their SHA-1.

    ``taken`` are all paths that the YAML puts something at. A file that a later part replaced is left out.
    """

    def __init__(self, given: Sequence[Given], own: Sequence[tuple[str, str]], taken: set[str]) -> None:
        self._given = given
        self._own = [spdx.file_line(f"SPDXRef-f{number}", path, sha1) for number, (path, sha1) in enumerate(own)]
        self._gone = _replaced(given, {json.dumps(path).encode() for path in taken})

    def write(self, *, created: str) -> IO[bytes]:
        """The document in a temporary file, at its start; its namespace is made from everything else in it."""
        out = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        digest = hashlib.sha256()
        for piece in self._pieces(spdx.head(NAME, created=created, creators=CREATORS)):
            digest.update(piece)
            out.write(piece)
        unique = spdx.unique(digest.hexdigest())
        out.seek(0)
        out.write(spdx.head(NAME, created=created, creators=CREATORS, unique=unique))
        out.seek(0)
        return out

    def _pieces(self, head: bytes) -> Iterator[bytes]:
        yield head
        makers: dict[str, Callable[[], Iterator[bytes]]] = {
            "packages": self._packages,
            "files": self._files,
            "relationships": self._relationships,
        }
        for section in spdx.SECTIONS:
            start = f',"{section}":[\n'.encode()
            for line in makers.get(section, lambda section=section: self._collected(section))():
                yield start + line
                start = b",\n"
            if start == b",\n":
                yield b"]"
        yield b"}\n"

    def _packages(self) -> Iterator[bytes]:
        yield spdx.line(machine())
        for given in self._given:
            sha1s = [_sha1(line) for line in self._kept(given)]
            yield spdx.line(given[0].package(spdx.verification_code(sha1s) if sha1s else None))
        if self._own:
            yield spdx.line(configuration(spdx.verification_code(map(_sha1, self._own))))
        yield from self._collected("packages")

    def _files(self) -> Iterator[bytes]:
        for given in self._given:
            yield from self._kept(given)
        yield from self._own

    def _relationships(self) -> Iterator[bytes]:
        yield spdx.relationship(spdx.DOCUMENT, "DESCRIBES", "SPDXRef-Machine")
        for part, _ in self._given:
            yield spdx.relationship("SPDXRef-Machine", "CONTAINS", part.id)
        if self._own:
            yield spdx.relationship("SPDXRef-Machine", "CONTAINS", CONFIGURATION)
        for part, fragment in self._given:
            gone = self._gone.get(part.key, set())
            for line in fragment.lines("relationships"):
                if not gone or not _ends(line) & gone:
                    yield line
            for line in self._kept((part, fragment)):
                yield spdx.relationship(part.id, "CONTAINS", spdx.id_of(line).decode())
        for line in self._own:
            yield spdx.relationship(CONFIGURATION, "CONTAINS", spdx.id_of(line).decode())

    def _collected(self, section: str) -> Iterator[bytes]:
        for _, fragment in self._given:
            yield from fragment.lines(section)

    def _kept(self, given: Given) -> Iterator[bytes]:
        """The files of a part that are in the machine."""
        part, fragment = given
        gone = self._gone.get(part.key)
        if not gone:
            return fragment.lines("files")
        return (line for line in fragment.lines("files") if spdx.id_of(line) not in gone)


def _replaced(given: Sequence[Given], taken: set[bytes]) -> dict[str, set[bytes]]:
    """The ids of files that something later stands in the place of, by the key of their part."""
    gone: dict[str, set[bytes]] = {}
    known: dict[bytes, tuple[str, bytes]] = {}
    for part, fragment in given:
        if part.prefix and not any(path.startswith(f'"{part.prefix}/'.encode()) for path in taken):
            continue
        for line in fragment.lines("files"):
            path, identifier = _path(line), spdx.id_of(line)
            if path in taken:
                gone.setdefault(part.key, set()).add(identifier)
            elif not part.prefix:
                _forget(known, path, gone)
                known[path] = part.key, identifier
        for path in fragment.lines(OTHERS) if not part.prefix else ():
            _forget(known, path, gone)
    return gone


def _forget(known: dict[bytes, tuple[str, bytes]], path: bytes, gone: dict[str, set[bytes]]) -> None:
    if path in known:
        key, identifier = known.pop(path)
        gone.setdefault(key, set()).add(identifier)


def _path(line: bytes) -> bytes:
    """The path in a file's line, as a JSON string. A quote inside of it is escaped, so ``","`` ends it."""
    start = line.index(_PATH_START) + len(_PATH_START)
    return line[start : line.index(b'","', start) + 1]


def _sha1(line: bytes) -> str:
    start = line.index(_SHA1_START) + len(_SHA1_START)
    return line[start : start + _SHA1_DIGITS].decode()


def _ends(line: bytes) -> set[bytes]:
    element = json.loads(line)
    return {str(element.get(key, "")).encode() for key in ("spdxElementId", "relatedSpdxElement")}
