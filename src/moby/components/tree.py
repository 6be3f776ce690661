"""A file tree in the making: packages laid over each other, chosen from, added to, then given as sorted entries.

Bodies lie in one unnamed temporary file, so memory grows with the number of entries and not with their bytes.
"""

from __future__ import annotations

import io
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind, directory

_CHUNK_BYTES = 1 << 20
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True)
class _Node:
    entry: Entry
    offset: int


class Tree(AbstractContextManager["Tree"]):
    """Entries by path; later ones win. ``scratch`` is where the temporary file may lie."""

    def __init__(self, scratch: Path) -> None:
        scratch.mkdir(parents=True, exist_ok=True)
        self._bodies = cast(BinaryIO, tempfile.TemporaryFile(dir=scratch))  # noqa: SIM115  closed by __exit__
        self._nodes: dict[str, _Node] = {}
        self._end = 0

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bodies.close()

    def __contains__(self, path: str) -> bool:
        return path in self._nodes

    def __getitem__(self, path: str) -> Entry:
        """The entry at ``path``, without its body. ``KeyError`` when there is none."""
        return self._nodes[path].entry

    def paths(self) -> list[str]:
        """Every path, sorted."""
        return sorted(self._nodes)

    def add(self, entries: Iterable[Entry]) -> None:
        """Lay ``entries`` over what is there. A directory over a directory keeps the first one's mode (dpkg's rule).

        Raises ``IntegrityError`` when something lies below a path that is not a directory.
        """
        for entry in entries:
            self._add(entry)

    def _add(self, entry: Entry) -> None:
        parent, _, name = entry.path.rpartition("/")
        if parent and not self._is_directory(parent):
            entry = replace(entry, path=f"{self._home(parent, entry)}/{name}")
        old = self._nodes.get(entry.path)
        if entry.kind is Kind.DIRECTORY and old is not None and old.entry.kind in (Kind.DIRECTORY, Kind.SYMLINK):
            return  # dpkg also keeps a link to a directory where another package ships the directory
        if old is not None and old.entry.kind is Kind.DIRECTORY and self._holds(entry.path):
            raise IntegrityError("replaces a directory that holds files", where=entry.path)
        self._nodes[entry.path] = self._stored(entry)

    def _holds(self, path: str) -> bool:
        return any(each.startswith(f"{path}/") for each in self._nodes)

    def _is_directory(self, path: str) -> bool:
        node = self._nodes.get(path)
        return node is not None and node.entry.kind is Kind.DIRECTORY

    def _home(self, parent: str, entry: Entry) -> str:
        """The directory that ``parent`` leads to, made when it is missing: links are followed as by a file system."""
        if parent not in self._nodes and self.resolve(parent) is None:
            self._add(directory(parent))
        real = self.resolve(parent)
        if real is None or not self._is_directory(real):
            raise IntegrityError("lies below something that is not a directory", where=entry.path)
        return real

    def _stored(self, entry: Entry) -> _Node:
        if entry.kind is Kind.HARDLINK:
            target = self._nodes.get(entry.target)
            if target is None or target.entry.kind is not Kind.FILE:
                raise IntegrityError(f"hard link to {entry.target}, which is no file", where=entry.path)
            return _Node(replace(target.entry, path=entry.path), target.offset)
        if entry.kind is not Kind.FILE:
            return _Node(entry, 0)
        offset = self._end
        self._bodies.seek(offset)
        if isinstance(entry.data, bytes):
            self._bodies.write(entry.data)
        else:
            while chunk := entry.data.read(_CHUNK_BYTES):
                self._bodies.write(chunk)
        self._end = self._bodies.tell()
        if self._end - offset != entry.size:
            raise IntegrityError(f"{entry.size} bytes announced, {self._end - offset} given", where=entry.path)
        return _Node(replace(entry, data=b""), offset)

    def remove(self, paths: Iterable[str]) -> None:
        """Forget these paths."""
        for path in paths:
            self._nodes.pop(path, None)

    def keep(self, paths: Iterable[str]) -> None:
        """Forget all but these paths and the directories above them."""
        kept: set[str] = set()
        for path in paths:
            while path and path not in kept:
                kept.add(path)
                path = path.rpartition("/")[0]
        self._nodes = {path: node for path, node in self._nodes.items() if path in kept}

    def glob(self, pattern: str) -> list[str]:
        """Paths that match, sorted. ``*`` and ``?`` stay within a name, ``**`` spans directories."""
        whole = translate(pattern)
        return sorted(path for path in self._nodes if whole.fullmatch(path))

    def resolve(self, path: str) -> str | None:
        """Where ``path`` leads when links are followed inside the tree; None when nothing is there or links loop."""
        chain = self.follow(path)
        return chain[-1] if chain else None

    def follow(self, path: str) -> tuple[str, ...]:
        """Every link on the way to ``path``, then its real path; empty when it leads nowhere."""
        visited: list[str] = []
        done, rest = "", [part for part in path.split("/") if part not in ("", ".")]
        while rest:
            part = rest.pop(0)
            if part == "..":
                done = done.rpartition("/")[0]
                continue
            here = f"{done}/{part}" if done else part
            node = self._nodes.get(here)
            if node is None:
                return ()
            if node.entry.kind is Kind.SYMLINK:
                visited.append(here)
                if len(visited) > _MAX_LINKS:
                    return ()
                target = node.entry.target
                done = "" if target.startswith("/") else done
                rest = [part for part in target.split("/") if part not in ("", ".")] + rest
            else:
                done = here
        return (*visited, done) if done else ()

    def open(self, path: str) -> BinaryIO:
        """The body of the file at ``path`` (links are not followed); seekable, valid while the tree is."""
        node = self._nodes[path]
        self._bodies.flush()
        return cast(BinaryIO, io.BufferedReader(_Body(self._bodies.fileno(), node.offset, node.entry.size)))

    def read(self, path: str) -> bytes:
        """The whole body of the file at ``path``: for small ones."""
        with self.open(path) as stream:
            return stream.read()

    def entries(self) -> Iterator[Entry]:
        """All entries, sorted by path, bodies as streams or bytes; hard links stay hard links, and are counted."""
        first: dict[int, str] = {}
        links = Counter(node.offset for node in self._nodes.values() if node.entry.size)
        for path in sorted(self._nodes):
            node = self._nodes[path]
            entry = node.entry
            if entry.kind is not Kind.FILE:
                yield entry
            elif entry.size and (earlier := first.setdefault(node.offset, path)) != path:
                yield replace(entry, kind=Kind.HARDLINK, size=0, target=earlier)
            elif entry.size <= _CHUNK_BYTES:
                yield replace(entry, data=self.read(path), links=links.get(node.offset, 1) if entry.size else 1)
            else:
                with self.open(path) as stream:
                    yield replace(entry, data=stream, links=links[node.offset])


def translate(pattern: str) -> re.Pattern[str]:
    """A glob as a regular expression: ``*`` and ``?`` within a name, ``[…]`` sets, ``**`` any number of directories."""
    parts = pattern.strip("/").split("/")
    text = ""
    for position, part in enumerate(parts):
        last = position == len(parts) - 1
        if part == "**":
            text += ".+" if last else "(?:[^/]+/)*"
        else:
            text += _name(part) + ("" if last else "/")
    return re.compile(text, re.DOTALL)


def _name(part: str) -> str:
    """One path part of a glob as the text of a regular expression."""
    pieces = re.split(r"(\*|\?|\[!?[^]]+\])", part)
    special = {"*": "[^/]*", "?": "[^/]"}
    return "".join(
        special.get(piece) or (f"[{piece[1:-1].replace('!', '^', 1)}]" if piece[:1] == "[" else re.escape(piece))
        for piece in pieces
    )


class _Body(io.RawIOBase):
    """A window of a file, read by position so that several are independent."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor = descriptor
        self._offset = offset
        self._size = size
        self._position = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move; positions are relative to the window."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, buffer: object, /) -> int:
        """Fill ``buffer``; 0 at the window's end."""
        view = memoryview(cast(bytearray, buffer))
        left = max(0, self._size - self._position)
        data = os.pread(self._descriptor, min(len(view), left), self._offset + self._position)
        view[: len(data)] = data
        self._position += len(data)
        return len(data)
