"""The file tree of an image while it is written: what directory records will say, without the data.

A directory is an object; of any other file there is a number, and what is known of it stands in columns: some 20 bytes
beside its name, so that trees of many files take little memory.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind
from moby.formats.iso9660_rockridge import NAME_BYTES, TARGET_BYTES, Attributes

_MAX_32 = 0xFFFFFFFF
_MAX_TIME_S = 1 << 62

Detail = str | tuple[int, int] | None  # a link's target, a device's numbers


class Owned(NamedTuple):
    """What many files have in common."""

    kind: Kind
    mode: int
    uid: int
    gid: int


class Node(NamedTuple):
    """What is known of a file. ``sector`` and ``size`` are where its data is; ``links`` counts its names."""

    owned: Owned
    mtime_s: int
    size: int = 0
    sector: int = 0
    links: int = 1
    serial: int = 0
    detail: Detail = None

    @property
    def kind(self) -> Kind:
        """What sort of file it is."""
        return self.owned.kind

    @property
    def attributes(self) -> Attributes:
        """What Rock Ridge says about it."""
        major, minor = self.detail if isinstance(self.detail, tuple) else (0, 0)
        return Attributes(
            **self.owned._asdict(),
            mtime_s=self.mtime_s,
            links=self.links,
            serial=self.serial,
            target=self.detail if isinstance(self.detail, str) else "",
            major=major,
            minor=minor,
        )


@dataclass(slots=True, eq=False)
class Directory:
    """A directory, its children by name: directories, and numbers of other files."""

    owned: Owned
    mtime_s: int
    links: int = 2
    serial: int = 0
    children: dict[str, Directory | int] = field(default_factory=dict)

    @property
    def attributes(self) -> Attributes:
        """What Rock Ridge says about it."""
        return Node(self.owned, self.mtime_s, links=self.links, serial=self.serial).attributes

    def directories(self) -> Iterator[tuple[str, Directory]]:
        """The directories among its children."""
        return ((name, child) for name, child in self.children.items() if isinstance(child, Directory))


class Tree:
    """A tree that entries are added to in archive order."""

    def __init__(self, mtime_s: int) -> None:
        self._mtime_s = mtime_s
        self._owned: dict[Owned, int] = {}
        self._owners: list[Owned] = []
        self._columns = array("I")  # of each file: owned, sector, serial
        self._times, self._sizes = array("q"), array("Q")
        self._links: dict[int, int] = {}  # where it is not one
        self._details: dict[int, Detail] = {}
        self.root = self._directory()

    def add(self, entry: Entry) -> int | None:
        """Put an entry in its place: later ones win. Gives the number of a file that is no directory.

        Raises ``IntegrityError`` for what an image cannot say.
        """
        _check(entry)
        parent, name = self._place(entry.path)
        old = parent.children.get(name)
        if entry.kind is Kind.DIRECTORY:
            parent.children[name] = made = self._directory(entry)
            if isinstance(old, Directory):
                made.children = old.children
            self._forget(old)
            return None
        number = self._linked(entry) if entry.kind is Kind.HARDLINK else self._file(entry)
        if entry.kind is Kind.HARDLINK and old != number:
            self._links[number] = self._links.get(number, 1) + 1
        if old != number:
            self._forget(old)
        parent.children[name] = number
        return number

    def put(self, number: int, sector: int) -> None:
        """Say where the data of a file is."""
        self._columns[3 * number + 1] = sector

    def node(self, number: int) -> Node:
        """What is known of a file."""
        owned, sector, serial = self._columns[3 * number : 3 * number + 3]
        links, detail = self._links.get(number, 1), self._details.get(number)
        return Node(self._owners[owned], self._times[number], self._sizes[number], sector, links, serial, detail)

    def find(self, path: str) -> Directory | int | None:
        """What is at ``path``."""
        found: Directory | int | None = self.root
        for part in path.split("/"):
            found = found.children.get(part) if isinstance(found, Directory) else None
        return found

    def number(self) -> int:
        """Give every file its serial number and directories their link counts; how many files there are."""
        count = 0
        todo = [self.root]
        seen: set[int] = set()
        while todo:
            directory = todo.pop()
            below = [child for _, child in sorted(directory.directories(), key=lambda item: item[0])]
            directory.links = 2 + len(below)
            todo += below
            for name in sorted(directory.children):
                child = directory.children[name]
                if not isinstance(child, Directory) and self._links.get(child, 1) > 1:
                    if child in seen:
                        continue
                    seen.add(child)
                count += 1
                if isinstance(child, Directory):
                    child.serial = count
                else:
                    self._columns[3 * child + 2] = count
        return count

    def _place(self, path: str) -> tuple[Directory, str]:
        """The directory that ``path`` belongs in, made where it is missing, and the last part."""
        *parts, name = path.split("/")
        directory = self.root
        for part in parts:
            below = directory.children.get(part)
            if below is None:
                below = directory.children[part] = self._directory()
            if not isinstance(below, Directory):
                raise IntegrityError(f"{part} is no directory", where=path)
            directory = below
        return directory, name

    def _linked(self, entry: Entry) -> int:
        found = self.find(entry.target)
        if found is None or isinstance(found, Directory):
            raise IntegrityError(f"a hard link to {entry.target!r}, which is no file", where=entry.path)
        return found

    def _file(self, entry: Entry) -> int:
        number = len(self._times)
        owned = Owned(entry.kind, entry.mode, entry.uid, entry.gid)
        known = self._owned.setdefault(owned, len(self._owners))
        if known == len(self._owners):
            self._owners.append(owned)
        self._columns.extend((known, 0, 0))
        self._times.append(_time(entry.mtime_s))
        self._sizes.append(entry.size if entry.kind is Kind.FILE else 0)
        if entry.kind is Kind.SYMLINK:
            self._details[number] = entry.target
        elif entry.kind in (Kind.CHAR, Kind.BLOCK):
            self._details[number] = (entry.major, entry.minor)
        return number

    def _forget(self, old: Directory | int | None) -> None:
        """One name less of a file that another takes the place of."""
        if isinstance(old, int):
            self._links[old] = self._links.get(old, 1) - 1

    def _directory(self, entry: Entry | None = None) -> Directory:
        if entry is None:
            return Directory(Owned(Kind.DIRECTORY, 0o755, 0, 0), self._mtime_s)
        return Directory(Owned(Kind.DIRECTORY, entry.mode, entry.uid, entry.gid), _time(entry.mtime_s))


def _time(seconds: int) -> int:
    """A time that fits its column; an image cannot say those that do not."""
    return max(-_MAX_TIME_S, min(seconds, _MAX_TIME_S))


def _check(entry: Entry) -> None:
    for part in entry.path.split("/"):
        size = len(part.encode("utf-8", "surrogateescape"))
        if part in ("", ".", "..") or "\0" in part:
            raise IntegrityError(f"{entry.path!r} is not the path of an entry", where=entry.origin)
        if size > NAME_BYTES:
            fix = f"ISO 9660 under Linux takes {NAME_BYTES} bytes: choose another format or a shorter name"
            raise IntegrityError(f"a name of {size} bytes", where=entry.path, fix=fix)
    if entry.kind is Kind.SYMLINK:
        size = len(entry.target.encode("utf-8", "surrogateescape"))
        if not 0 < size <= TARGET_BYTES or "\0" in entry.target:
            raise IntegrityError(f"a symbolic link's target of {size} bytes", where=entry.path)
    numbers = (entry.uid, entry.gid, entry.major, entry.minor)
    if any(not 0 <= number <= _MAX_32 for number in numbers):
        raise IntegrityError("an owner or device number that does not fit 32 bits", where=entry.path)
