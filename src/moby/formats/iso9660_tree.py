"""The file tree of an image while it is written: what directory records will say, without the data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind
from moby.formats.iso9660_rockridge import NAME_BYTES, TARGET_BYTES, Attributes

_MAX_32 = 0xFFFFFFFF
_MAX_SHARED = 10_000


@dataclass(slots=True, eq=False)
class Node:
    """A file of any kind. ``sector`` and ``size`` are where a file's data is; ``links`` counts its names."""

    kind: Kind
    mode: int
    uid: int
    gid: int
    mtime_s: int
    size: int = 0
    sector: int = 0
    links: int = 1
    serial: int = 0
    detail: str | tuple[int, int] | None = None  # a link's target, a device's numbers

    @property
    def attributes(self) -> Attributes:
        """What Rock Ridge says about it."""
        major, minor = self.detail if isinstance(self.detail, tuple) else (0, 0)
        return Attributes(
            kind=self.kind,
            mode=self.mode,
            uid=self.uid,
            gid=self.gid,
            mtime_s=self.mtime_s,
            links=self.links,
            serial=self.serial,
            target=self.detail if isinstance(self.detail, str) else "",
            major=major,
            minor=minor,
        )


@dataclass(slots=True, eq=False)
class Directory(Node):
    """A directory, its children by name."""

    children: dict[str, Node] = field(default_factory=dict)

    def directories(self) -> Iterator[tuple[str, Directory]]:
        """The directories among its children."""
        return ((name, child) for name, child in self.children.items() if isinstance(child, Directory))


class Tree:
    """A tree that entries are added to in archive order."""

    def __init__(self, mtime_s: int) -> None:
        self._mtime_s = mtime_s
        self._numbers: dict[int, int] = {}
        self.root = self._directory()

    def add(self, entry: Entry) -> Node:
        """Put an entry in its place: later ones win. Raises ``IntegrityError`` for what an image cannot say."""
        _check(entry)
        parent, name = self._place(entry.path)
        if entry.kind is Kind.HARDLINK:
            node = self._linked(entry)
            if parent.children.get(name) is node:
                return node
            node.links += 1
        else:
            node = self._node(entry)
        old = parent.children.get(name)
        if isinstance(old, Directory) and isinstance(node, Directory):
            node.children = old.children
        elif old is not None:
            old.links -= 1
        parent.children[name] = node
        return node

    def find(self, path: str) -> Node | None:
        """What is at ``path``."""
        node: Node = self.root
        for part in path.split("/"):
            found = node.children.get(part) if isinstance(node, Directory) else None
            if found is None:
                return None
            node = found
        return node

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
                node = directory.children[name]
                if node.links > 1 and not isinstance(node, Directory):
                    if id(node) in seen:
                        continue
                    seen.add(id(node))
                count += 1
                node.serial = count
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

    def _linked(self, entry: Entry) -> Node:
        node = self.find(entry.target)
        if node is None or isinstance(node, Directory):
            raise IntegrityError(f"a hard link to {entry.target!r}, which is no file", where=entry.path)
        return node

    def _node(self, entry: Entry) -> Node:
        make = Directory if entry.kind is Kind.DIRECTORY else Node
        mode, uid, gid, mtime_s = map(self._shared, (entry.mode, entry.uid, entry.gid, entry.mtime_s))
        node = make(entry.kind, mode, uid, gid, mtime_s, entry.size if entry.kind is Kind.FILE else 0)
        if entry.kind is Kind.SYMLINK:
            node.detail = entry.target
        elif entry.kind in (Kind.CHAR, Kind.BLOCK):
            node.detail = (entry.major, entry.minor)
        return node

    def _shared(self, number: int) -> int:
        """``number`` as one object for all nodes: many files have the same mode, owner and time."""
        if len(self._numbers) < _MAX_SHARED:
            return self._numbers.setdefault(number, number)
        return self._numbers.get(number, number)

    def _directory(self) -> Directory:
        return Directory(kind=Kind.DIRECTORY, mode=0o755, uid=0, gid=0, mtime_s=self._mtime_s)


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
