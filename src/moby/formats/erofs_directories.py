"""Directories of an EROFS image. Each names its own inode and its parent's, so all get their places first.

The tree is walked twice: once to count what each directory takes and give it room, once to write.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator

from moby.errors import IntegrityError
from moby.formats.catalog import Node
from moby.formats.entry import Kind
from moby.formats.erofs_inode import Owner, Place, type_of
from moby.formats.erofs_layout import (
    BLOCK_BYTES,
    COMPACT_LINKS,
    DIRENT,
    EXTENDED_LINKS,
    SLOT_BYTES,
    SUPERBLOCK_BYTES,
    SUPERBLOCK_OFFSET,
)
from moby.formats.erofs_space import Space

# The superblock holds 16 bits of the root's number: it follows the superblock itself.
ROOT = (SUPERBLOCK_OFFSET + SUPERBLOCK_BYTES) // SLOT_BYTES

Walk = Callable[[], Iterator[Node | None]]


class _Listing:
    """A directory that is not ended. Full blocks are counted and given to ``write``; the last one is what is left."""

    def __init__(self, node: Node, index: int, write: Callable[[int, bytes], None] | None) -> None:
        self.owner = Owner.decode(node.facts)
        self.name = node.name
        self.index = index
        self.blocks = 0
        self.directories = 0
        self.used = 0
        self._write = write
        self._entries: list[tuple[bytes, int, int]] = []
        self._dots: list[tuple[bytes, int]] = []

    def dots(self, own: int, parent: int) -> None:
        """Say the two inodes that stand among the names, at the place where they are sorted to."""
        self._dots = [(b"..", parent), (b".", own)]

    def add(self, name: bytes, inode: int, kind: Kind) -> None:
        """The next name in order."""
        while self._dots and self._dots[-1][0] < name:
            self._put(*self._dots.pop(), Kind.DIRECTORY)
        self._put(name, inode, kind)

    def finish(self) -> bytes:
        """The last block, not padded."""
        while self._dots:
            self._put(*self._dots.pop(), Kind.DIRECTORY)
        return self._encode() if self._write else b""

    def _put(self, name: bytes, inode: int, kind: Kind) -> None:
        if self.used + DIRENT.size + len(name) > BLOCK_BYTES:
            if self._write:
                self._write(self.blocks, self._encode())
                self._entries.clear()
            self.blocks += 1
            self.used = 0
        self.used += DIRENT.size + len(name)
        if self._write:
            self._entries.append((name, inode, type_of(kind)))

    def _encode(self) -> bytes:
        at = DIRENT.size * len(self._entries)
        heads, names = [], []
        for name, inode, kind in self._entries:
            heads.append(DIRENT.pack(inode, at, kind))
            names.append(name)
            at += len(name)
        return b"".join(heads + names)


class Directories:
    """Gives directories room and writes them; ``count`` is how many inodes there are with theirs.

    The facts of everything else are the number of its inode, twice, plus one when the inode is extended.
    """

    def __init__(self, space: Space, walk: Walk, time_s: int) -> None:
        self.count = 0
        self._space = space
        self._walk = walk
        self._time_s = time_s
        self._inodes = array("Q")  # of each directory in tree order
        self._starts = array("Q")  # first data block

    def plan(self) -> None:
        """Give room to all."""
        open_: list[_Listing] = []
        for node in self._walk():
            if node is None:
                ended = open_.pop()
                ended.finish()
                self._give(ended)
                if open_:
                    open_[-1].directories += 1
                    open_[-1].add(ended.name, 0, Kind.DIRECTORY)
            elif node.kind is Kind.DIRECTORY:
                open_.append(_Listing(node, len(self._inodes), None))
                open_[-1].dots(0, 0)
                self._inodes.append(0)
                self._starts.append(0)
            else:
                open_[-1].add(node.name, 0, node.kind)

    def write(self) -> bytes:
        """Write all but the root's inode, which is given back: it lies in the superblock's block."""
        open_: list[_Listing] = []
        linked: set[int] = set()
        index, root = 0, b""
        for node in self._walk():
            if node is None:
                ended = open_.pop()
                root = self._end(ended)
                if open_:
                    open_[-1].directories += 1
                    open_[-1].add(ended.name, self._inodes[ended.index], Kind.DIRECTORY)
            elif node.kind is Kind.DIRECTORY:
                open_.append(_Listing(node, index, self._writer(index)))
                parent = open_[-2].index if index else 0
                open_[-1].dots(self._inodes[index], self._inodes[parent])
                index += 1
            else:
                inode = int.from_bytes(node.facts, "little")
                if node.file not in linked:
                    self.count += 1
                    if node.links > 1:
                        linked.add(node.file)
                        self._links(inode, node)
                open_[-1].add(node.name, inode >> 1, node.kind)
        self.count += index
        return root

    def _place(self, listing: _Listing) -> Place:
        size = listing.blocks * BLOCK_BYTES + listing.used
        place = Place.plan(listing.owner, size, links=listing.directories + 2, time_s=self._time_s)
        if listing.index:
            return place
        return Place(place.owner, size, place.extended, inline=False)

    def _give(self, listing: _Listing) -> None:
        place = self._place(listing)
        if place.blocks:
            self._starts[listing.index] = self._space.run(place.blocks)
        if listing.index:
            self._inodes[listing.index] = self._space.slot(place.slot_bytes) // SLOT_BYTES
        elif ROOT * SLOT_BYTES + place.slot_bytes > BLOCK_BYTES:
            raise IntegrityError(f"the root's attributes take {len(listing.owner.xattrs)} bytes", where="/")
        else:
            self._inodes[0] = ROOT

    def _writer(self, index: int) -> Callable[[int, bytes], None]:
        start = self._starts[index]

        def write(number: int, data: bytes) -> None:
            self._space.write((start + number) * BLOCK_BYTES, data.ljust(BLOCK_BYTES, b"\0"))

        return write

    def _end(self, listing: _Listing) -> bytes:
        """Write an ended directory; its inode."""
        tail = listing.finish()
        place = self._place(listing)
        inode = self._inodes[listing.index]
        start = self._starts[listing.index]
        if not place.inline:
            self._space.write((start + listing.blocks) * BLOCK_BYTES, tail.ljust(BLOCK_BYTES, b"\0"))
        data = place.encode(links=listing.directories + 2, start=start, number=inode, tail=tail)
        if listing.index:
            self._space.fill(inode * SLOT_BYTES, data)
        return data

    def _links(self, inode: int, node: Node) -> None:
        """Say in a file's inode how many names it has."""
        form, offset = EXTENDED_LINKS if inode & 1 else COMPACT_LINKS
        if node.links >> 8 * form.size:
            raise IntegrityError(f"a file with {node.links} names", where=repr(node.name))
        self._space.fill((inode >> 1) * SLOT_BYTES + offset, form.pack(node.links))
