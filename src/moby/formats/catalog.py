"""The names of an entry stream in tree order, for file-system images, in some 50 bytes a name and its path.

A name is one ``bytes`` object: path, when it came, kind, and facts that only the image writer understands. In a path
``/`` is written as NUL, and two NULs end it, so that plain sorting gives each directory, then all that it holds, then
its next sibling, names in byte order, and of equal paths the later one last. Nothing else is kept per name: there is
no tree of objects and no dictionary of paths.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import NamedTuple

from moby.errors import IntegrityError
from moby.formats.entry import DIRECTORY, HARDLINK, Kind

PATH_BYTES = 4095
NAME_BYTES = 255  # NAME_MAX

_END = b"\0\0"
_HEAD = 7  # after the path: its end, four bytes of order, one of kind
_KINDS = {kind.value >> 12: kind for kind in Kind}
_BITS = {kind: bytes((bits,)) for bits, kind in _KINDS.items()}
_LINK = Kind.HARDLINK.value >> 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """What went into an image: its size with padding, inodes, bytes of all files, and what was stored once only."""

    size_bytes: int
    inodes: int
    data_bytes: int
    duplicates: int
    duplicate_bytes: int


class Node(NamedTuple):
    """A name: its last part (``b""`` for the root), and what it is.

    ``file`` is the same number for all the names of one file, of which there are ``links``.
    """

    name: bytes
    kind: Kind
    facts: bytes
    file: int
    links: int


class Catalog:
    """Collects names with ``add`` and ``link``; ``walk`` gives the tree, as often as wanted, once all are in.

    ``default`` are the facts of directories that are needed and were not named, among them the root.
    """

    def __init__(self, default: bytes) -> None:
        self._default = default
        self._records: list[bytes] = []
        self._has_links = False
        self._sorted = False
        self._files: dict[int, int] = {}
        self._links: dict[int, int] = {}

    def add(self, path: str, kind: Kind, facts: bytes) -> None:
        """Take a name of anything but a hard link; ``""`` is the root. ``IntegrityError`` for a name no tree holds."""
        records, key = self._records, _key(path)
        if not key and kind is not DIRECTORY:
            raise IntegrityError("the root is a directory", where="/")
        records.append(b"".join((key, _END, len(records).to_bytes(4, "big"), _BITS[kind], facts)))

    def link(self, path: str, target: str) -> None:
        """Take one more name of what stands at ``target`` now."""
        self._has_links = True
        self.add(path, HARDLINK, _key(target))

    def walk(self) -> Iterator[Node | None]:
        """The root, then everything in tree order; None at the end of each directory.

        Raises ``IntegrityError`` for hard links to nothing or to a directory, and for a file that holds something.
        """
        if not self._sorted:
            self._sort()
        return self._walk()

    def _sort(self) -> None:
        self._records.sort()
        self._sorted = True
        if self._has_links:
            self._follow()

    def _walk(self) -> Iterator[Node | None]:
        records, files, links = self._records, self._files, self._links
        open_, parent, last = [b""], b"", b"\0"
        yield Node(b"", DIRECTORY, self._root(), -1, 1)
        for number, (record, following) in enumerate(zip(records, _following(records), strict=True)):
            end = record.find(_END)
            if not end or following.startswith(record[: end + 2]):
                continue
            key = record[:end]
            above, _, name = key.rpartition(b"\0")
            if above != parent:
                if last == above or above.startswith(last + b"\0"):
                    raise IntegrityError("holds something, and is no directory", where=_path(last))
                yield from self._enter(open_, above)
                parent = above
            file, start = number, end + _HEAD
            if number in files:
                file = files[number]
                record = records[file]
                start = record.find(_END) + _HEAD
            kind = _KINDS[record[start - 1]]
            yield Node(name, kind, record[start:], file, links.get(file, 1))
            if kind is DIRECTORY:
                open_.append(key)
                parent, last = key, b"\0"
            else:
                last = key
        yield from [None] * len(open_)

    def _enter(self, open_: list[bytes], key: bytes) -> Iterator[Node | None]:
        """End directories and begin unnamed ones until ``key`` is the innermost open one."""
        while open_[-1] and key != open_[-1] and not key.startswith(open_[-1] + b"\0"):
            open_.pop()
            yield None
        while open_[-1] != key:
            start = len(open_[-1]) + 1 if open_[-1] else 0
            name, _, _ = key[start:].partition(b"\0")
            open_.append(key[: start + len(name)])
            yield Node(name, DIRECTORY, self._default, -1, 1)

    def _root(self) -> bytes:
        """The facts of the last entry that spoke of the root."""
        end = bisect_left(self._records, b"\0\1")
        return self._records[end - 1][_HEAD:] if end else self._default

    def _replaced(self, number: int, name: bytes) -> bool:
        """Whether a later entry took this name."""
        return number + 1 < len(self._records) and self._records[number + 1].startswith(name)

    def _follow(self) -> None:
        """Find each hard link's file, and count the names of such files."""
        for number, record in enumerate(self._records):
            end = record.find(_END)
            if record[end + _HEAD - 1] != _LINK or self._replaced(number, record[: end + 2]):
                continue
            file = self._file(number)
            self._files[number] = file
            if file not in self._links:
                found = self._records[file]
                self._links[file] = 0 if self._replaced(file, found[: found.find(_END) + 2]) else 1
            self._links[file] += 1

    def _file(self, number: int) -> int:
        """The record of the file that the hard link ``number`` names: what its target was when the link came."""
        records, first = self._records, self._records[number]
        while True:
            record = records[number]
            end = record.find(_END)
            if record[end + _HEAD - 1] != _LINK:
                break
            target = record[end + _HEAD :] + _END
            number = bisect_left(records, target + record[end + 2 : end + 6]) - 1
            if number < 0 or not records[number].startswith(target):
                where = _path(first[: first.find(_END)])
                raise IntegrityError(f"hard link to {_path(target[:-2])!r}, which does not come before it", where=where)
        if record[end + _HEAD - 1] == Kind.DIRECTORY.value >> 12:
            raise IntegrityError("hard link to a directory", where=_path(first[: first.find(_END)]))
        return number


def _following(records: list[bytes]) -> Iterator[bytes]:
    """The record after each; nothing after the last."""
    return chain(islice(records, 1, None), (b"",) if records else ())


def _key(path: str) -> bytes:
    """A path as records have it. ``IntegrityError`` for a name that no file system holds."""
    key = path.encode("utf-8", "surrogateescape")
    if not key:
        return key
    if len(key) > NAME_BYTES and (len(key) > PATH_BYTES or max(map(len, key.split(b"/"))) > NAME_BYTES):
        raise IntegrityError(f"a path of {len(key)} bytes, or a part of it, is too long", where=repr(path))
    # What may be unclean shows one of these marks; so do hidden files, which are not.
    if path[0] in "./" or path[-1] == "/" or "//" in path or "/." in path or "\0" in path:
        parts = path.split("/")
        if "\0" in path or "" in parts or "." in parts or ".." in parts:
            raise IntegrityError("not a clean relative path", where=repr(path))
    return key.replace(b"/", b"\0")


def _path(key: bytes) -> str:
    return key.replace(b"\0", b"/").decode("utf-8", "surrogateescape")
