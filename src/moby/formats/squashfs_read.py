"""Reading squashfs images: see ``squashfs``."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import BinaryIO

from moby.formats.catalog import NAME_BYTES, PATH_BYTES
from moby.formats.entry import Entry, Kind
from moby.formats.inodetree import walk
from moby.formats.squashfs_layout import (
    BASIC_DIRECTORY,
    BASIC_FILE,
    DIRECTORY_EXTENDED,
    DIRENT,
    EXTENDED,
    FILE_EXTENDED,
    HEAD,
    LINKS_SIZE,
    MAX_RUN,
    NONE_32,
    NUMBER,
    RUN,
    SIZE_EXTRA,
    Type,
    device_parts,
)
from moby.formats.squashfs_tables import Cursor, Image

_KINDS = {
    Type.DIRECTORY: Kind.DIRECTORY,
    Type.FILE: Kind.FILE,
    Type.SYMLINK: Kind.SYMLINK,
    Type.BLOCK: Kind.BLOCK,
    Type.CHAR: Kind.CHAR,
    Type.FIFO: Kind.FIFO,
}
_MAX_WORDS = 1 << 23  # a file of 1 TiB in blocks of the usual size


@dataclass(frozen=True, slots=True)
class _Inode:
    """An inode: what it says of itself as an entry without a name, and where its contents are.

    ``start`` is a file's first block, or the reference of a directory's listing of ``size`` bytes.
    """

    number: int
    entry: Entry
    start: int = 0
    size: int = 0
    words: array[int] = field(default_factory=lambda: array("I"))
    fragment: int = NONE_32
    offset: int = 0


def read(stream: BinaryIO, *, where: str = "", max_entries: int = 1_000_000) -> Iterator[Entry]:
    """The entries of the image at the position of a seekable stream, in tree order, without the root itself.

    Contents up to ``SMALL_BYTES`` are given as bytes, larger ones as a stream that is valid until the next entry.
    Sockets are left out: an entry stream has none. Raises ``IntegrityError`` for anything broken or hostile.
    """
    image = Image(stream, where)
    return walk(_Inodes(image), image.superblock.root, max_entries=max_entries)


class _Inodes:
    """The inodes of an image, as ``inodetree`` asks for them."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self.fail = image.fail

    def names(self, inode: _Inode, path: str) -> Iterator[tuple[bytes, int | None]]:
        """The names in a directory and their inodes' references; None for a socket's."""
        image = self._image
        left = inode.size - SIZE_EXTRA
        if left <= 0:
            return
        cursor = Cursor(image, image.superblock.directory_table, inode.start)
        while left > 0:
            count, block, _ = RUN.unpack(cursor.take(RUN.size))
            left -= RUN.size
            if count >= MAX_RUN:
                raise image.fail(f"{count + 1} entries under one header", path)
            for _ in range(count + 1):
                offset, _, kind, size = DIRENT.unpack(cursor.take(DIRENT.size))
                name = cursor.take(size + 1) if size < NAME_BYTES else b""
                if name in (b".", b".."):
                    raise image.fail(f"a name {name!r}", path)
                left -= DIRENT.size + len(name)
                yield name, None if kind == Type.SOCKET else block << 16 | offset
        if left:
            raise image.fail("a directory's size is wrong", path)

    def pieces(self, inode: _Inode, path: str) -> Iterator[bytes]:
        """The blocks of a file, then its tail."""
        image, left, position = self._image, inode.size, inode.start
        for word in inode.words:
            size = min(left, image.superblock.block_bytes)
            data = image.block(position, word, size) if word else b""
            yield data.ljust(size, b"\0")
            position += word & 0xFFFFFF
            left -= size
        if left:
            tail = image.fragment(inode.fragment)[inode.offset : inode.offset + left]
            if len(tail) < left:
                raise image.fail("a tail is outside of its fragment", path)
            yield tail

    def inode(self, reference: int, path: str) -> _Inode:
        """An inode with what it says of itself."""
        image = self._image
        cursor = Cursor(image, image.superblock.inode_table, reference)
        kind, mode, uid, gid, mtime_s, number = HEAD.unpack(cursor.take(HEAD.size))
        plain = kind - EXTENDED if kind > EXTENDED else kind
        if plain not in _KINDS:
            raise image.fail(f"an inode of type {kind}")
        entry = Entry(
            path="",
            kind=_KINDS[Type(plain)],
            mode=mode & 0o7777,
            uid=image.owner(uid),
            gid=image.owner(gid),
            mtime_s=mtime_s,
        )
        inode = _Inode(number, entry)
        if plain == Type.DIRECTORY:
            return self._directory(inode, cursor, extended=kind != plain)
        if plain == Type.FILE:
            return self._file(inode, cursor, extended=kind != plain)
        return self._special(inode, cursor, extended=kind != plain)

    def _directory(self, inode: _Inode, cursor: Cursor, *, extended: bool) -> _Inode:
        xattr = NONE_32
        if extended:
            _, size, block, _, _, offset, xattr = DIRECTORY_EXTENDED.unpack(cursor.take(DIRECTORY_EXTENDED.size))
        else:
            block, _, size, offset, _ = BASIC_DIRECTORY.unpack(cursor.take(BASIC_DIRECTORY.size))
        entry = replace(inode.entry, xattrs=self._image.xattrs(xattr))
        return replace(inode, entry=entry, start=block << 16 | offset, size=size)

    def _file(self, inode: _Inode, cursor: Cursor, *, extended: bool) -> _Inode:
        image = self._image
        links, xattr = 1, NONE_32
        if extended:
            start, size, _, links, fragment, offset, xattr = FILE_EXTENDED.unpack(cursor.take(FILE_EXTENDED.size))
        else:
            start, fragment, offset, size = BASIC_FILE.unpack(cursor.take(BASIC_FILE.size))
        count, rest = divmod(size, image.superblock.block_bytes)
        if rest and fragment == NONE_32:
            count += 1
        if count > _MAX_WORDS:
            raise image.fail(f"a file of {size} bytes")
        words = array("I", cursor.take(4 * count))
        if sys.byteorder == "big":
            words.byteswap()
        entry = replace(inode.entry, size=size, links=max(links, 1), xattrs=image.xattrs(xattr))
        return replace(inode, entry=entry, start=start, size=size, words=words, fragment=fragment, offset=offset)

    def _special(self, inode: _Inode, cursor: Cursor, *, extended: bool) -> _Inode:
        """A symbolic link, device or fifo."""
        image, entry = self._image, inode.entry
        if entry.kind is Kind.SYMLINK:
            links, size = LINKS_SIZE.unpack(cursor.take(LINKS_SIZE.size))
            if not 0 < size <= PATH_BYTES:
                raise image.fail(f"a link target of {size} bytes")
            entry = replace(entry, target=cursor.take(size).decode("utf-8", "surrogateescape"))
        elif entry.kind is Kind.FIFO:
            (links,) = NUMBER.unpack(cursor.take(NUMBER.size))
        else:
            links, number = LINKS_SIZE.unpack(cursor.take(LINKS_SIZE.size))
            major, minor = device_parts(number)
            entry = replace(entry, major=major, minor=minor)
        xattr = NUMBER.unpack(cursor.take(NUMBER.size))[0] if extended else NONE_32
        return replace(inode, entry=replace(entry, links=max(links, 1), xattrs=image.xattrs(xattr)))
