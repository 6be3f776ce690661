"""Reading squashfs images: see ``squashfs``."""

from __future__ import annotations

import io
import sys
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, BinaryIO, cast

from moby.formats.catalog import NAME_BYTES, PATH_BYTES
from moby.formats.entry import Entry, Kind
from moby.formats.squashfs_layout import (
    DIRECTORY,
    DIRECTORY_EXTENDED,
    DIRENT,
    EXTENDED,
    FILE,
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
from moby.formats.stream import SMALL_BYTES

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
    return _Reader(Image(stream, where), max_entries).entries()


class _Reader:
    def __init__(self, image: Image, max_entries: int) -> None:
        self._image = image
        self._left = max_entries
        self._seen: set[int] = set()
        self._linked: dict[int, str] = {}

    def entries(self) -> Iterator[Entry]:
        """Everything below the root."""
        root = self._inode(self._image.superblock.root)
        if root.entry.kind is not Kind.DIRECTORY:
            raise self._image.fail("the root is no directory")
        pending = [self._listing(root, "")]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            path, reference = found
            inode = self._inode(reference)
            yield from self._give(inode, path)
            if inode.entry.kind is Kind.DIRECTORY:
                pending.append(self._listing(inode, path))

    def _give(self, inode: _Inode, path: str) -> Iterator[Entry]:
        """The entry of one name."""
        entry = inode.entry
        self._left -= 1
        if self._left < 0:
            raise self._image.fail("the image has too many entries", path)
        if entry.kind is Kind.DIRECTORY or entry.links == 1:
            yield from self._body(inode, replace(entry, path=path, links=1))
        elif inode.number in self._linked:
            yield replace(entry, path=path, kind=Kind.HARDLINK, target=self._linked[inode.number], size=0, links=1)
        else:
            self._linked[inode.number] = path
            yield from self._body(inode, replace(entry, path=path))

    def _body(self, inode: _Inode, entry: Entry) -> Iterator[Entry]:
        if entry.kind is not Kind.FILE:
            yield entry
            return
        body = _Body(self._image, inode)
        if entry.size <= SMALL_BYTES:
            yield replace(entry, data=body.read())
            return
        yield replace(entry, data=cast(BinaryIO, body))
        body.close()

    def _listing(self, inode: _Inode, path: str) -> Iterator[tuple[str, int]]:
        """Path and inode reference of what a directory holds. A directory that comes twice would be a loop."""
        image = self._image
        if inode.number in self._seen:
            raise image.fail("a directory stands at two places", path)
        self._seen.add(inode.number)
        left = inode.size - SIZE_EXTRA
        if left <= 0:
            return
        cursor = Cursor(image, image.superblock.directory_table, inode.start)
        last = b""
        while left > 0:
            count, block, _ = RUN.unpack(cursor.take(RUN.size))
            left -= RUN.size
            if count >= MAX_RUN:
                raise image.fail(f"{count + 1} entries under one header", path)
            for _ in range(count + 1):
                offset, _, kind, size = DIRENT.unpack(cursor.take(DIRENT.size))
                name = cursor.take(size + 1) if size < NAME_BYTES else b""
                if name <= last or b"/" in name or b"\0" in name or name in (b".", b".."):
                    raise image.fail(f"a name {name!r} after {last!r}", path)
                left -= DIRENT.size + len(name)
                last = name
                if kind != Type.SOCKET:
                    yield self._path(path, name), block << 16 | offset
        if left:
            raise image.fail("a directory's size is wrong", path)

    def _path(self, parent: str, name: bytes) -> str:
        path = (
            f"{parent}/{name.decode('utf-8', 'surrogateescape')}" if parent else name.decode("utf-8", "surrogateescape")
        )
        if len(path) > PATH_BYTES:
            raise self._image.fail("a path is too long", path[:80])
        return path

    def _inode(self, reference: int) -> _Inode:
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
            block, _, size, offset, _ = DIRECTORY.unpack(cursor.take(DIRECTORY.size))
        entry = replace(inode.entry, xattrs=self._image.xattrs(xattr))
        return replace(inode, entry=entry, start=block << 16 | offset, size=size)

    def _file(self, inode: _Inode, cursor: Cursor, *, extended: bool) -> _Inode:
        image = self._image
        links, xattr = 1, NONE_32
        if extended:
            start, size, _, links, fragment, offset, xattr = FILE_EXTENDED.unpack(cursor.take(FILE_EXTENDED.size))
        else:
            start, fragment, offset, size = FILE.unpack(cursor.take(FILE.size))
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


class _Body(io.RawIOBase):
    """The contents of a file, read block by block."""

    def __init__(self, image: Image, inode: _Inode) -> None:
        super().__init__()
        self._image = image
        self._inode = inode
        self._next = 0
        self._position = inode.start
        self._left = inode.size
        self._block = b""
        self._offset = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int | None = -1) -> bytes:
        if self.closed:
            raise ValueError("read after the next entry was taken")
        wanted = self._left + len(self._block) - self._offset if size is None or size < 0 else size
        parts = []
        while wanted > 0:
            if self._offset == len(self._block):
                if not self._left:
                    break
                self._block, self._offset = self._more(), 0
            part = self._block[self._offset : self._offset + wanted]
            self._offset += len(part)
            wanted -= len(part)
            parts.append(part)
        return b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _more(self) -> bytes:
        """The next block, or the tail."""
        inode, image = self._inode, self._image
        size = min(self._left, image.superblock.block_bytes)
        if self._next < len(inode.words):
            word = inode.words[self._next]
            data = image.block(self._position, word, size) if word else b""
            self._position += word & 0xFFFFFF
            self._next += 1
            data = data.ljust(size, b"\0")
        else:
            data = image.fragment(inode.fragment)[inode.offset : inode.offset + size]
            if len(data) < size:
                raise image.fail("a tail is outside of its fragment")
        self._left -= size
        return data
