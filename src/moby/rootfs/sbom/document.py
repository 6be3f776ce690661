"""The SPDX document of a whole root file system, put together from the fragments of its parts."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO

from moby.formats import spdx
from moby.rootfs.sbom.fragment import END, OTHERS, Fragment
from moby.rootfs.sbom.parts import CONFIGURATION, Part, configuration, machine

NAME = "sbom"
CREATORS = ("Organization: Moby", "Tool: moby")
_PATH_START = b'"fileName":'

Given = tuple[Part, Fragment]
# Pieces of some elements, at least one, with what belongs between them.
Run = Iterable[bytes]
Select = Callable[[Part, Fragment], Iterator[bytes]]


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
        unique = spdx.unique(self._digest(created))
        out = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
        out.writelines(self._pieces(spdx.head(NAME, created=created, creators=CREATORS, unique=unique)))
        out.seek(0)
        return out

    def _digest(self, created: str) -> str:
        """The SHA-256 (hex) of all that decides what is in the document."""
        digest = hashlib.sha256(spdx.head(NAME, created=created, creators=CREATORS))
        for part, fragment in self._given:
            gone = sorted(self._gone.get(part.key, ()))
            package = spdx.line(part.package(fragment.code))
            digest.update(b"\0".join((package, fragment.sha256.encode(), *gone, b"\n")))
        digest.update(b"\n".join(self._own))
        return digest.hexdigest()

    def _pieces(self, head: bytes) -> Iterator[bytes]:
        yield head
        makers: dict[str, Callable[[], Iterator[Run]]] = {
            "packages": self._packages,
            "files": self._files,
            "relationships": self._relationships,
        }
        for section in spdx.SECTIONS:
            start = f',"{section}":[\n'.encode()
            for run in makers.get(section, lambda section=section: self._collected(section))():
                yield start
                yield from run
                start = END
            if start == END:
                yield b"]"
        yield b"}\n"

    def _packages(self) -> Iterator[Run]:
        yield (spdx.line(machine()),)
        for part, fragment in self._given:
            code = fragment.code
            if part.key in self._gone:
                code = spdx.verification_code(spdx.sha1_of(line) for line in self._kept_files(part, fragment))
            yield (spdx.line(part.package(code)),)
        if self._own:
            yield (spdx.line(configuration(spdx.verification_code(map(spdx.sha1_of, self._own)))),)
        yield from self._collected("packages")

    def _files(self) -> Iterator[Run]:
        yield from self._kept("files", self._kept_files)
        yield from ((line,) for line in self._own)

    def _relationships(self) -> Iterator[Run]:
        yield (spdx.relationship(spdx.DOCUMENT, "DESCRIBES", "SPDXRef-Machine"),)
        contained = [part.id for part, _ in self._given] + ([CONFIGURATION] if self._own else [])
        yield from ((spdx.relationship("SPDXRef-Machine", "CONTAINS", each),) for each in contained)
        yield from self._kept("relationships", self._kept_relationships)
        for line in self._own:
            yield (spdx.relationship(CONFIGURATION, "CONTAINS", spdx.id_of(line).decode()),)

    def _collected(self, section: str) -> Iterator[Run]:
        return self._kept(section, None)

    def _kept(self, section: str, select: Select | None) -> Iterator[Run]:
        """A section of all parts: whole, but what ``select`` gives of a part with files that are not in the machine."""
        for part, fragment in self._given:
            if select is not None and part.key in self._gone:
                yield from ((line,) for line in select(part, fragment))
            elif fragment.sections[section][1]:
                yield fragment.pieces(section)

    def _kept_files(self, part: Part, fragment: Fragment) -> Iterator[bytes]:
        gone = self._gone[part.key]
        return (line for line in fragment.lines("files") if spdx.id_of(line) not in gone)

    def _kept_relationships(self, part: Part, fragment: Fragment) -> Iterator[bytes]:
        gone = self._gone[part.key]
        return (line for line in fragment.lines("relationships") if not _ends(line) & gone)


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


def _ends(line: bytes) -> set[bytes]:
    element = json.loads(line)
    return {str(element.get(key, "")).encode() for key in ("spdxElementId", "relatedSpdxElement")}
