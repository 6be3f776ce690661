"""Inodes and directories of a squashfs image, written from the tree that a catalog gives.

An inode is written once all that it names is: files before the listing that holds them, a directory after all below
it. Numbers are given the other way round, in tree order from 1, the root's: a directory must name its parent's.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from moby.errors import IntegrityError
from moby.formats.catalog import Node
from moby.formats.entry import DIRECTORY, FILE, SYMLINK, Entry, Kind
from moby.formats.squashfs_files import EMPTY, Files
from moby.formats.squashfs_layout import (
    BASIC_DIRECTORY,
    BASIC_FILE,
    DIRECTORY_EXTENDED,
    DIRENT,
    EXTENDED,
    FILE_EXTENDED,
    HEAD,
    INDEX,
    LINKS_SIZE,
    MAX_INDEX,
    MAX_RUN,
    METADATA_BYTES,
    NONE_32,
    NUMBER,
    RUN,
    SIZE_EXTRA,
    Type,
    device,
)
from moby.formats.squashfs_metadata import Ids, Metadata

_TYPES = {
    Kind.DIRECTORY: int(Type.DIRECTORY),
    Kind.FILE: int(Type.FILE),
    Kind.SYMLINK: int(Type.SYMLINK),
    Kind.BLOCK: int(Type.BLOCK),
    Kind.CHAR: int(Type.CHAR),
    Kind.FIFO: int(Type.FIFO),
}
# What a catalog keeps of an entry: mode, owners, time and number of its attributes. Owners are numbered when inodes are
# written: unsquashfs refuses a table with more of them than the inodes that are left could have.
_FACTS = struct.Struct("<HIIII")
_OWN = struct.Struct("<HHHI")  # mode, owners and time, as an inode has them
_FILE_FACTS = struct.Struct("<HIIIIQI")  # and a FILE's size and number
_PLAIN_FILE = struct.Struct(HEAD.format + BASIC_FILE.format[1:])  # an inode without the words of its blocks
# Plain numbers, as packing a member of an enumeration takes longer.
_FILE_TYPE = int(Type.FILE)


def facts(entry: Entry, *, xattr: int) -> bytes:
    """Facts of an entry that is no FILE. Times before 1970 and after 2106 become the nearest there is."""
    own = _FACTS.pack(*_owner(entry), xattr)
    if entry.kind is SYMLINK:
        return own + entry.target.encode("utf-8", "surrogateescape")
    if entry.kind in (Kind.BLOCK, Kind.CHAR):
        return own + NUMBER.pack(device(entry.major, entry.minor))
    return own


def file_facts(entry: Entry, xattr: int, number: int) -> bytes:
    """Facts of a FILE whose contents have this number."""
    try:
        owner = entry.mode & 0o7777, entry.uid, entry.gid, entry.mtime_s
        return _FILE_FACTS.pack(*owner, xattr, entry.size, number)
    except struct.error:
        return _FILE_FACTS.pack(*_owner(entry), xattr, entry.size, number)


def _owner(entry: Entry) -> tuple[int, int, int, int]:
    """Mode, owners and the nearest time."""
    for owner in (entry.uid, entry.gid):
        if not 0 <= owner <= NONE_32:
            raise IntegrityError(f"owner {owner} is out of range", where=entry.path)
    return entry.mode & 0o7777, entry.uid, entry.gid, min(max(entry.mtime_s, 0), NONE_32)


@dataclass(slots=True)
class _Listing:
    """A directory that is not ended: its entries so far, under headers for runs of them.

    A run has one inode block and one base number. ``index`` are headers in later blocks of 8 KiB: their offset and
    the first name after them.
    """

    node: Node
    number: int
    parent: int
    directories: int = 0
    data: bytearray = field(default_factory=bytearray)
    index: list[tuple[int, bytes]] = field(default_factory=list)
    _run: int = 0
    _count: int = 0
    _block: int = -1
    _base: int = 0

    def add(self, name: bytes, kind: int, number: int, reference: int) -> None:
        """The next entry, in the order of names."""
        block, count, data = reference >> 16, self._count, self.data
        away = number - self._base
        is_long = len(data) - self._run >= METADATA_BYTES  # a search would read too much
        if block != self._block or count == MAX_RUN or not -0x8000 <= away <= 0x7FFF or is_long:
            self._begin(name, block, number)
            away = count = 0
        data[self._run] = count
        self._count = count + 1
        data += DIRENT.pack(reference & 0xFFFF, away, kind, len(name) - 1) + name

    def _begin(self, name: bytes, block: int, number: int) -> None:
        self._run, self._block, self._base = len(self.data), block, number
        known = self.index[-1][0] if self.index else 0
        if self._run // METADATA_BYTES > known // METADATA_BYTES and len(self.index) < MAX_INDEX:
            self.index.append((self._run, name))
        self.data += RUN.pack(0, block, number)


class Inodes:
    """Writes inodes and listings. ``references[number - 1]`` is where each inode is."""

    def __init__(self, files: Files, ids: Ids, inodes: Metadata, directories: Metadata) -> None:
        self.references = array("Q")
        self.root = 0
        self._files = files
        self._ids = ids
        self._inodes = inodes
        self._directories = directories
        self._linked: dict[int, tuple[int, int]] = {}

    def write(self, tree: Iterable[Node | None]) -> None:
        """Write the whole tree."""
        open_: list[_Listing] = []
        for node in tree:
            if node is None:
                ended = open_.pop()
                reference = self._directory(ended)
                if open_:
                    open_[-1].directories += 1
                    open_[-1].add(ended.node.name, Type.DIRECTORY, ended.number, reference)
                else:
                    self.root = reference
            elif node.kind is DIRECTORY:
                number = self._number()
                open_.append(_Listing(node, number, open_[-1].number if open_ else number))
            else:
                number, reference = (self._known(node) if node.links > 1 else None) or self._other(node)
                open_[-1].add(node.name, _TYPES[node.kind], number, reference)

    def encode_references(self) -> bytes:
        """The export table's records."""
        return _little(self.references[:])

    def _number(self) -> int:
        self.references.append(0)
        return len(self.references)

    def _known(self, node: Node) -> tuple[int, int] | None:
        """The inode of a file with several names that has been written."""
        return self._linked.get(node.file)

    def _other(self, node: Node) -> tuple[int, int]:
        """Write the inode of anything but a directory."""
        reference = self._inodes.reference
        self.references.append(reference)
        number = len(self.references)
        self._inodes.put(self._file(node, number) if node.kind is FILE else self._special(node, number))
        if node.links > 1:
            self._linked[node.file] = number, reference
        return number, reference

    def _file(self, node: Node, number: int) -> bytes:
        mode, uid, gid, time_s, xattr, size, contents = _FILE_FACTS.unpack(node.facts)
        uid, gid = self._ids.number(uid), self._ids.number(gid)
        start, fragment, offset, words, sparse = 0, NONE_32, 0, b"", 0
        files = self._files
        if contents != EMPTY:
            fragment, offset = files.fragments[contents], files.offsets[contents]
            if size >= files.block_bytes:
                count = size // files.block_bytes
                start, first = files.blocks.starts[contents], files.firsts[contents]
                sizes = files.blocks.words[first : first + count]
                sparse = sizes.count(0) * files.block_bytes
                words = _little(sizes)
        if node.links == 1 and xattr == NONE_32 and not sparse and start <= NONE_32 and size <= NONE_32:
            plain = (_FILE_TYPE, mode, uid, gid, time_s, number, start, fragment, offset, size)
            return _PLAIN_FILE.pack(*plain) + words
        own = _OWN.pack(mode, uid, gid, time_s)
        body = FILE_EXTENDED.pack(start, size, sparse, node.links, fragment, offset, xattr)
        return _head(Type.FILE + EXTENDED, own, number) + body + words

    def _special(self, node: Node, number: int) -> bytes:
        """A symbolic link, device or fifo."""
        own, xattr = self._parts(node)
        rest = node.facts[_FACTS.size :]
        if node.kind is SYMLINK:
            body = LINKS_SIZE.pack(node.links, len(rest)) + rest
        elif node.kind is Kind.FIFO:
            body = NUMBER.pack(node.links)
        else:
            body = NUMBER.pack(node.links) + rest
        if xattr == NONE_32:
            return _head(_TYPES[node.kind], own, number) + body
        return _head(_TYPES[node.kind] + EXTENDED, own, number) + body + NUMBER.pack(xattr)

    def _parts(self, node: Node) -> tuple[bytes, int]:
        """Mode, owners and time as they are written, and the number of the attributes."""
        mode, uid, gid, time_s, xattr = _FACTS.unpack_from(node.facts)
        return _OWN.pack(mode, self._ids.number(uid), self._ids.number(gid), time_s), xattr

    def _directory(self, listing: _Listing) -> int:
        """Write an ended directory; where its inode is."""
        own, xattr = self._parts(listing.node)
        at, table = self._directories.reference, self._directories
        begin = table.size
        table.put(listing.data)
        size, links = len(listing.data) + SIZE_EXTRA, listing.directories + 2
        reference = self._inodes.reference
        if size <= 0xFFFF and xattr == NONE_32 and not listing.index:
            body = BASIC_DIRECTORY.pack(at >> 16, links, size, at & 0xFFFF, listing.parent)
            self._inodes.put(_head(Type.DIRECTORY, own, listing.number) + body)
        elif size > NONE_32:
            raise IntegrityError("a directory is too large", where=repr(listing.node.name))
        else:
            fields = (links, size, at >> 16, listing.parent, len(listing.index), at & 0xFFFF, xattr)
            head = _head(Type.DIRECTORY + EXTENDED, own, listing.number)
            self._inodes.put(head + DIRECTORY_EXTENDED.pack(*fields) + b"".join(self._index(listing, begin)))
        self.references[listing.number - 1] = reference
        return reference

    def _index(self, listing: _Listing, begin: int) -> Iterator[bytes]:
        for offset, name in listing.index:
            block = self._directories.starts[(begin + offset) // METADATA_BYTES]
            yield INDEX.pack(offset, block, len(name) - 1) + name


def _head(kind: int, own: bytes, number: int) -> bytes:
    return b"%b%b%b" % (kind.to_bytes(2, "little"), own, number.to_bytes(4, "little"))


def _little(words: array[int]) -> bytes:
    if sys.byteorder == "big":
        words.byteswap()
    return words.tobytes()


assert HEAD.size == 2 + _OWN.size + 4
