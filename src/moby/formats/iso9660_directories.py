"""The directories of an image under one kind of names: where they go, and the records in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moby.formats import iso9660_rockridge as rock_ridge
from moby.formats.iso9660_names import Shape, assign
from moby.formats.iso9660_records import (
    DIRECTORY,
    MULTI_EXTENT,
    PARENT,
    RECORD_BYTES,
    SECTION_BYTES,
    SECTOR,
    SELF,
    directory_record,
    pack,
    padded,
    sectors,
)
from moby.formats.iso9660_tree import Directory, Node, Tree

_RECORD_ROOM = 254  # a record's length is even and has 8 bits


@dataclass(slots=True)
class Row:
    """A directory. ``parent`` is a number in the order of the path table, ``size`` and ``continued`` are bytes."""

    directory: Directory
    identifier: bytes
    parent: int
    sector: int = 0
    size: int = 0
    continued: int = 0


class Hierarchy:
    """The tree's directories in the order of the path table: by level, by parent, by identifier (ECMA-119 6.9.1).

    Each is followed by its continuation areas. ``extended`` is with Rock Ridge.
    """

    def __init__(self, tree: Tree, shape: Shape, *, extended: bool) -> None:
        root = tree.root
        self._tree = tree
        self._shape = shape
        self._extended = extended
        self.rows = [Row(root, SELF, 0)]
        self._rows = {id(root): self.rows[0]}
        for number, row in enumerate(self.rows):  # which grows meanwhile
            names = self._names(row.directory)
            below = ((names[name], child) for name, child in row.directory.directories())
            for identifier, child in sorted(below, key=lambda item: item[0]):
                self.rows.append(Row(child, identifier, number))
                self._rows[id(child)] = self.rows[-1]
            records, continued = self._directory(row, names)
            row.size, row.continued = len(records), len(continued)

    def place(self, sector: int) -> int:
        """Give every directory its place, the first at ``sector``; the first sector after them."""
        for row in self.rows:
            row.sector = sector
            sector += sectors(row.size) + sectors(row.continued)
        return sector

    def extents(self) -> Iterator[bytes]:
        """What ``place`` found room for, whole sectors."""
        for row in self.rows:
            records, continued = self._directory(row, self._names(row.directory))
            yield records + continued

    def path_rows(self) -> Iterator[tuple[bytes, int, int]]:
        """Identifier, sector and number of the parent, counted from 1, of each directory."""
        return ((row.identifier, row.sector, row.parent + 1) for row in self.rows)

    def _names(self, directory: Directory) -> dict[str, bytes]:
        named = ((name, isinstance(child, Directory)) for name, child in directory.children.items())
        return assign(named, self._shape)

    def _directory(self, row: Row, names: dict[str, bytes]) -> tuple[bytes, bytes]:
        """Records and continuation areas of one directory. Their sizes do not depend on places."""
        areas = _Areas(row.sector + sectors(row.size))
        made = [
            self._record(SELF, row.directory, row, areas, first=row.identifier == SELF),
            self._record(PARENT, self.rows[row.parent].directory, self.rows[row.parent], areas),
        ]
        for name, child in sorted(row.directory.children.items(), key=lambda item: names[item[0]]):
            if isinstance(child, Directory):
                made.append(self._record(names[name], child, self._rows[id(child)], areas, name=name))
            else:
                made += self._file(names[name], name, self._tree.node(child), areas)
        return padded(pack(made)), padded(areas.data)

    def _file(self, identifier: bytes, name: str, node: Node, areas: _Areas) -> Iterator[bytes]:
        """The record of a name; one for each section where a file has several."""
        use = self._system_use(identifier, node, areas, name=name)
        for at in range(0, max(node.size, 1), SECTION_BYTES):
            flags = MULTI_EXTENT if at + SECTION_BYTES < node.size else 0
            size = min(node.size - at, SECTION_BYTES)
            sector = node.sector + at // SECTOR
            yield directory_record(identifier, sector, size, flags=flags, time_s=node.mtime_s, system_use=use)

    def _record(
        self, identifier: bytes, node: Directory, row: Row, areas: _Areas, *, name: str = "", first: bool = False
    ) -> bytes:
        use = self._system_use(identifier, node, areas, name=name, first=first)
        return directory_record(identifier, row.sector, row.size, flags=DIRECTORY, time_s=node.mtime_s, system_use=use)

    def _system_use(
        self, identifier: bytes, node: Node | Directory, areas: _Areas, *, name: str, first: bool = False
    ) -> bytes:
        if not self._extended:
            return b""
        fields = rock_ridge.fields(node.attributes, name.encode("utf-8", "surrogateescape"))
        if first:
            sharing, extension = rock_ridge.indicators()
            fields = [sharing, *fields, extension]
        head = RECORD_BYTES + len(identifier)
        return areas.add(rock_ridge.split(fields, _RECORD_ROOM - head - head % 2))


class _Areas:
    """The continuation areas of one directory, which begin at ``sector``."""

    def __init__(self, sector: int) -> None:
        self._sector = sector
        self._data = bytearray()

    @property
    def data(self) -> bytes:
        return bytes(self._data)

    def add(self, parts: list[bytes]) -> bytes:
        """Keep all but the first of ``parts``, which is returned and says where the second is, and so on."""
        *before, part = parts
        while before:
            sector, offset = self._keep(part)
            part = rock_ridge.continued(before.pop(), sector, offset, len(part))
        return part

    def _keep(self, part: bytes) -> tuple[int, int]:
        if len(self._data) % SECTOR + len(part) > SECTOR:
            self._data += bytes(-len(self._data) % SECTOR)
        at = len(self._data)
        self._data += part
        return self._sector + at // SECTOR, at % SECTOR
