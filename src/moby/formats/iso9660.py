"""Writes ISO 9660 images: level 3 of ECMA-119, with Rock Ridge, Joliet and El Torito.

Data is written as it comes, directories at the end, when all places are known; then the descriptors, for which room was
left, are filled in. Only the tree is held in memory. In sectors of 2048 bytes:

    0-15  system area: zero here, boot code and partition tables of a hybrid image (``isohybrid``)
    16    primary descriptor, then boot record, Joliet descriptor and terminator, as far as there are any
    20    boot catalog
    21    files, in the order of the entries
          directories with their continuation areas, Joliet directories, path tables

The same entries and options give the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.formats import eltorito, iso9660_names
from moby.formats.eltorito import BootImage, Extent
from moby.formats.entry import Entry, Kind, file
from moby.formats.iso9660_directories import Hierarchy
from moby.formats.iso9660_records import (
    SECTION_BYTES,
    SECTOR,
    SYSTEM_AREA,
    Volume,
    padded,
    path_table,
    sectors,
    terminator,
)
from moby.formats.iso9660_tree import Tree
from moby.formats.stream import copy

CATALOG = 20  # where the boot catalog is
_DATA = 21
_SECTOR_LIMIT = 1 << 32
_NAME_CHARACTERS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to write: ``volume`` is the volume's name, ``mtime_s`` its time and that of directories nobody gave.

    ``identity`` (see ``iso9660_records.identity``) becomes the volume's UUID. ``boot`` are files of the tree;
    ``catalog`` is the path where the boot catalog shows as a file, nowhere when empty.
    """

    volume: str
    mtime_s: int = 0
    identity: str = ""
    application: str = ""
    joliet: bool = True
    boot: tuple[BootImage, ...] = ()
    catalog: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What came out: the size of the image in bytes, and where the boot images are, in the order of the options."""

    size: int
    boot: tuple[Extent, ...]


def write(entries: Iterable[Entry], out: BinaryIO, options: Options) -> Written:
    """Write an image of ``entries`` to ``out``, which must be seekable and at position 0.

    Of names that come twice the later one wins, though the data of the earlier stays. Extended attributes are left out.
    Raises ``ConfigError`` for options that do not fit, ``IntegrityError`` for entries that an image cannot hold.
    """
    if (
        not 0 < len(options.volume) <= _NAME_CHARACTERS
        or not options.volume.isprintable()
        or not options.volume.isascii()
    ):
        raise ConfigError(f"{options.volume!r} is not the name of a volume", fix="use up to 32 ASCII characters")
    return _Writer(out, options).write(entries)


class _Writer:
    """One image being written."""

    def __init__(self, out: BinaryIO, options: Options) -> None:
        self._out = out
        self._options = options
        self._tree = Tree(options.mtime_s)
        self._informed = {image.path for image in options.boot if image.info_table}
        self._sector = _DATA

    def write(self, entries: Iterable[Entry]) -> Written:
        self._out.write(bytes(_DATA * SECTOR))
        for entry in entries:
            number = self._tree.add(entry)
            if number is not None and entry.kind is Kind.FILE and entry.size:
                self._tree.put(number, self._sector)
                self._body(entry)
        boot = tuple(self._placed(image) for image in self._options.boot)
        if boot and self._options.catalog:
            number = self._tree.add(file(self._options.catalog, bytes(SECTOR), mtime_s=self._options.mtime_s))
            assert number is not None
            self._tree.put(number, CATALOG)
        self._tree.number()
        trees = [Hierarchy(self._tree, iso9660_names.primary, extended=True)]
        if self._options.joliet:
            trees.append(Hierarchy(self._tree, iso9660_names.joliet, extended=False))
        volumes = [self._hierarchy(tree) for tree in trees]
        self._descriptors(volumes, boot)
        return Written(size=self._sector * SECTOR, boot=boot)

    def _body(self, entry: Entry) -> None:
        data = entry.data
        if entry.path in self._informed:
            data = data if isinstance(data, bytes) else data.read(entry.size)
            data = eltorito.with_info_table(data, self._sector)
        if isinstance(data, bytes):
            if len(data) != entry.size:
                raise IntegrityError(f"{entry.size} bytes announced, {len(data)} given", where=entry.path)
            self._out.write(data)
        else:
            copy(data, self._out, entry.size, where=entry.path)
        self._out.write(bytes(-entry.size % SECTOR))
        self._advance(sectors(entry.size))

    def _advance(self, count: int) -> int:
        """The next free sector, after which ``count`` are taken."""
        first = self._sector
        self._sector += count
        if self._sector >= _SECTOR_LIMIT:
            raise IntegrityError("the image is larger than ISO 9660 allows, 8 TiB")
        return first

    def _placed(self, image: BootImage) -> Extent:
        found = self._tree.find(image.path)
        node = self._tree.node(found) if isinstance(found, int) else None
        if node is None or node.kind is not Kind.FILE or not 0 < node.size <= SECTION_BYTES:
            raise ConfigError("the boot image is no file of the tree", where=image.path)
        return Extent(platform=image.platform, sector=node.sector, size=node.size, load_blocks=image.load_blocks)

    def _hierarchy(self, tree: Hierarchy) -> Volume:
        """Write a tree's directories and path tables; its descriptor, which lacks the size of the volume."""
        self._sector = tree.place(self._sector)
        for extent in tree.extents():
            self._out.write(extent)
        size, places = 0, []
        for order in "<>":
            table = path_table(tree.path_rows(), order)
            size = len(table)
            self._out.write(padded(table))
            places.append(self._advance(sectors(size)))
        root = tree.rows[0]
        return Volume(
            name=self._options.volume,
            sectors=0,
            table_size=size,
            table_little=places[0],
            table_big=places[1],
            root=root.sector,
            root_size=root.size,
            time_s=self._options.mtime_s,
            identity=self._options.identity,
            application=self._options.application,
        )

    def _descriptors(self, volumes: Sequence[Volume], boot: Sequence[Extent]) -> None:
        """Fill the room left at the start."""
        made = [replace(volume, sectors=self._sector) for volume in volumes]
        parts = [made[0].primary()]
        if boot:
            parts.append(eltorito.descriptor(CATALOG))
        parts += [volume.joliet() for volume in made[1:]]
        parts.append(terminator())
        self._out.seek(SYSTEM_AREA * SECTOR)
        self._out.write(b"".join(parts))
        if boot:
            self._out.seek(CATALOG * SECTOR)
            self._out.write(eltorito.catalog(boot))
        self._out.seek(self._sector * SECTOR)
