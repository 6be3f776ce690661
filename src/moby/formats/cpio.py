"""The cpio "newc" format, which Linux unpacks as an initramfs.

Rules kept here, from the kernel's ``init/initramfs.c`` and "initramfs buffer format" in its documentation:

- Names go in as they are, numbers are eight hexadecimal digits, names and bodies are padded to four bytes.
- Names of one file share an inode number and say a link count of two or more. The kernel notes the first such name and
  makes the others links to it; a body of length 0 leaves the file's data alone. So the data stands with the first name,
  which is also what an entry stream gives. GNU cpio puts off empty links until the end and comes to the same tree.
- The link count must be known with the first name. A hard link to a file whose ``links`` did not say so becomes a
  relative symbolic link, as LinuxKit makes of every hard link.
- A file that comes again is overwritten in place, which would reach its other names too. Such a name is replaced by
  a symbolic link first: the kernel removes what stands at a name when the new entry is of another type.
- A link's owner, mode and time are set again from its own record, so they repeat the file's.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats.entry import DIRECTORY, FILE, HARDLINK, SYMLINK, Entry, Kind, symlink
from moby.formats.stream import SMALL_BYTES, Body, Source, copy
from moby.formats.tar import clean

MAGIC = b"070701"
TRAILER = b"TRAILER!!!"
HEADER_BYTES = 110
PATH_BYTES = 4096  # PATH_MAX, with the NUL: the kernel skips an entry with a longer name

_MAX = 0xFFFFFFFF
_PADDING = (b"", b"\0\0\0", b"\0\0", b"\0")  # by length modulo 4


@dataclass(slots=True)
class _Inode:
    """A file with several names; ``alive`` while the name the kernel knows it by still is that file."""

    number: int
    entry: Entry
    alive: bool = True


def write(entries: Iterable[Entry], out: BinaryIO, *, prefix: str = "", linked: Collection[str] = ()) -> int:
    """Write one archive with its trailer and give its size, a multiple of four.

    ``prefix`` (``"a/b/"``) stands before every name. ``linked`` are names, with the prefix, that an archive unpacked
    before this one may have given to files with several names: a file that takes one is written so that the others
    keep theirs. Raises ``IntegrityError`` for what the format or the kernel cannot take: files of 4 GiB and more, names
    of 4096 bytes and more, ids above 32 bits, bodies shorter than their entry says.
    """
    return _Writer(out, prefix, linked).write(entries)


def member(entry: Entry) -> tuple[bytes, bytes]:
    """What stands before and after the body of the file ``entry`` in an archive that holds nothing else.

    For bodies that are copied without being looked at. Both are multiples of four together with the body. Raises as
    ``write``.
    """
    name = entry.path.encode("utf-8", "surrogateescape")
    _check(entry, name, entry.size)
    return _record(name, 0, entry.size, entry, links=1), _PADDING[entry.size % 4] + _TRAILER


class _Writer:
    """One archive being written. ``_linked`` holds only names of files that have, or may have, others."""

    def __init__(self, out: BinaryIO, prefix: str, before: Collection[str]) -> None:
        self._out = out
        self._prefix = prefix
        self._before = frozenset(path[len(prefix) :] for path in before if path.startswith(prefix))
        self._linked: dict[str, _Inode] = {}
        self._inode = 0

    def write(self, entries: Iterable[Entry]) -> int:
        written = 0
        for entry in entries:
            written += self._link(entry) if entry.kind is HARDLINK else self._entry(entry)
        self._out.write(_TRAILER)
        return written + len(_TRAILER)

    def _entry(self, entry: Entry) -> int:
        """Anything but a hard link."""
        self._inode += 1
        path = entry.path
        written = self._forget(entry) if path in self._linked or path in self._before else 0
        links = 2 if entry.kind is DIRECTORY else 1
        if entry.links > 1 and entry.kind is FILE:
            links = entry.links
            self._linked[path] = _Inode(self._inode, replace(entry, data=b""))
        return written + self._put(entry, self._inode, links)

    def _forget(self, entry: Entry) -> int:
        """A name of a file that may have several names is taken by ``entry``: break the link."""
        inode = self._linked.pop(entry.path, None)
        if inode is not None:
            inode.alive = inode.alive and inode.entry.path != entry.path
        if entry.kind is not FILE:
            return 0
        self._inode += 1
        return self._put(symlink(entry.path, "."), self._inode - 1, 1)

    def _link(self, entry: Entry) -> int:
        """A hard link to an earlier entry of this archive."""
        inode = self._linked.get(entry.target)
        if inode is None or not inode.alive:
            folder = posixpath.dirname(entry.path)
            target = posixpath.relpath(f"/{entry.target}", f"/{folder}")
            return self._entry(replace(entry, kind=SYMLINK, target=target))
        if self._linked.get(entry.path) is inode:
            return 0
        # The kernel removes what stands at a second name.
        written = self._forget(entry) if entry.path in self._linked else 0
        self._linked[entry.path] = inode
        again = replace(inode.entry, path=entry.path, size=0)
        return written + self._put(again, inode.number, again.links)

    def _put(self, entry: Entry, inode: int, links: int) -> int:
        data: bytes | BinaryIO = entry.data
        size = entry.size
        if entry.kind is SYMLINK:
            data = entry.target.encode("utf-8", "surrogateescape")
            size = len(data)
        elif entry.kind is not FILE:
            data, size = b"", 0
        name = (self._prefix + entry.path).encode("utf-8", "surrogateescape")
        _check(entry, name, size)
        head = _record(name, inode, size, entry, links=links)
        padding = _PADDING[size % 4]
        if isinstance(data, bytes):
            if len(data) != size:
                raise IntegrityError(f"{size} bytes announced, {len(data)} given", where=entry.path)
            self._out.write(b"".join((head, data, padding)))
        else:
            self._out.write(head)
            copy(data, self._out, size, where=entry.path)
            self._out.write(padding)
        return len(head) + size + len(padding)


def _check(entry: Entry, name: bytes, size: int) -> None:
    if size > _MAX:
        raise IntegrityError(
            f"a file of {size} bytes does not fit into an initramfs", where=entry.path, fix="a file must be below 4 GiB"
        )
    if len(name) >= PATH_BYTES or not name or b"\0" in name or (entry.kind is SYMLINK and size >= PATH_BYTES):
        raise IntegrityError("a name or link target is empty, holds a NUL or has 4096 bytes or more", where=entry.path)
    if not (0 <= entry.uid <= _MAX and 0 <= entry.gid <= _MAX):
        raise IntegrityError(f"owner {entry.uid}:{entry.gid} is out of range", where=entry.path)


def _record(name: bytes, inode: int, size: int, entry: Entry, *, links: int) -> bytes:
    """A header with its padded name. Times before 1970 and after 2106 become the nearest the format has."""
    return b"070701%08x%08x%08x%08x%08x%08x%08x0000000000000000%08x%08x%08x00000000%s\0%s" % (
        inode,
        entry.mode | entry.kind.value if name is not TRAILER else 0,
        entry.uid,
        entry.gid,
        links,
        min(max(entry.mtime_s, 0), _MAX),
        size,
        entry.major,
        entry.minor,
        len(name) + 1,
        name,
        _PADDING[(HEADER_BYTES + len(name) + 1) % 4],
    )


_TRAILER = _record(TRAILER, 0, 0, Entry(path="", kind=Kind.FILE, mode=0), links=1)


def read(stream: BinaryIO, *, where: str = "") -> Iterator[Entry]:
    """The entries of one or several uncompressed newc archives, with zero padding between them.

    Hard links come after their file, wherever the archive had the data. Raises ``IntegrityError`` for anything broken.
    """
    return _Reader(stream, where).entries()


class _Reader:
    """Archives being read. ``_waiting`` holds empty names whose file's data has not come yet."""

    def __init__(self, stream: BinaryIO, where: str) -> None:
        self._source = Source(stream, where)
        self._known: dict[tuple[int, int, int], str] = {}
        self._waiting: dict[tuple[int, int, int], list[Entry]] = {}

    def entries(self) -> Iterator[Entry]:
        while self._between():
            fields = self._fields()
            name = self._name(fields[11])
            if name == TRAILER.decode():
                yield from self._end()
            else:
                yield from self._give(name, fields)
        yield from self._end()

    def _between(self) -> bool:
        """Pass over the padding between archives; whether there is more."""
        source = self._source
        while not source.at_end():
            if source.peek(4) != b"\0\0\0\0":
                return True
            source.take(4)
        return False

    def _fields(self) -> list[int]:
        header = self._source.take(HEADER_BYTES)
        if header[:6] not in (MAGIC, b"070702"):
            raise self._source.fail("this is not a newc cpio archive")
        try:
            return [int(header[start : start + 8], 16) for start in range(6, HEADER_BYTES, 8)]
        except ValueError:
            raise self._source.fail("a header field is not hexadecimal") from None

    def _name(self, size: int) -> str:
        if not 0 < size <= PATH_BYTES:
            raise self._source.fail(f"a name of {size} bytes")
        text, nul, rest = self._source.take(size + -(HEADER_BYTES + size) % 4).partition(b"\0")
        if not nul or rest.strip(b"\0"):
            raise self._source.fail("a name holds a NUL, or has none at its end")
        self._source.entry = text.decode("utf-8", "surrogateescape")
        try:
            return clean(self._source.entry)
        except ValueError as error:
            raise self._source.fail(str(error)) from error

    def _give(self, name: str, fields: list[int]) -> Iterator[Entry]:
        inode, mode, uid, gid, links, mtime_s, size, major, minor, rmajor, rminor = fields[:11]
        try:
            kind = Kind(mode & 0o170000)
        except ValueError:
            raise self._source.fail(f"unknown file type in mode {mode:o}") from None
        entry = Entry(
            path=name, kind=kind, mode=mode & 0o7777, uid=uid, gid=gid, mtime_s=mtime_s, major=rmajor, minor=rminor
        )
        if kind is not FILE:
            yield from self._other(entry, size)
        elif links > 1:
            yield from self._linked((major, minor, inode), replace(entry, links=links, size=size))
        else:
            yield from self._body(replace(entry, size=size))

    def _other(self, entry: Entry, size: int) -> Iterator[Entry]:
        """A symbolic link, directory, device or fifo; the root directory itself is left out."""
        if size >= PATH_BYTES:
            raise self._source.fail(f"a link target of {size} bytes")
        content = self._source.take(size + -size % 4)[:size]
        if entry.kind is SYMLINK:
            entry = replace(entry, target=content.decode("utf-8", "surrogateescape"))
        if entry.path:
            yield entry

    def _linked(self, key: tuple[int, int, int], entry: Entry) -> Iterator[Entry]:
        """A file with several names: the file where its data is, links for the names before and after."""
        target = self._known.get(key)
        if target is not None:
            self._source.skip(entry.size + -entry.size % 4)
            yield _link(entry, target)
        elif entry.size:
            self._known[key] = entry.path
            yield from self._body(entry)
            yield from (_link(name, entry.path) for name in self._waiting.pop(key, ()))
        else:
            self._waiting.setdefault(key, []).append(entry)

    def _body(self, entry: Entry) -> Iterator[Entry]:
        source, size = self._source, entry.size
        if size <= SMALL_BYTES:
            yield replace(entry, data=source.take(size + -size % 4)[:size])
            return
        body = Body(source, size)
        yield replace(entry, data=cast(BinaryIO, body))
        source.skip(body.left + -size % 4)
        body.close()

    def _end(self) -> Iterator[Entry]:
        """The end of one archive: names that never got data are an empty file."""
        for first, *others in self._waiting.values():
            yield first
            yield from (_link(name, first.path) for name in others)
        self._waiting.clear()
        self._known.clear()


def _link(entry: Entry, target: str) -> Entry:
    return replace(entry, kind=HARDLINK, target=target, size=0, links=1)
