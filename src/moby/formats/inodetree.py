"""From inodes to entries: how the readers of squashfs and EROFS walk a tree. Every number in an image is hostile."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, BinaryIO, Generic, Protocol, TypeVar, cast

from moby.errors import IntegrityError
from moby.formats.catalog import NAME_BYTES, PATH_BYTES
from moby.formats.entry import Entry, Kind
from moby.formats.stream import SMALL_BYTES


class Inode(Protocol):
    """An inode: ``entry`` is what it says of itself, without a path."""

    @property
    def number(self) -> int:
        """What tells it from the others."""
        ...

    @property
    def entry(self) -> Entry:
        """Its kind, owner, size and so on; ``links`` as the image has them."""
        ...


I = TypeVar("I", bound=Inode)  # noqa: E741  # as in "inode"


class FileSystem(Protocol[I]):
    """One image, in terms of its own format. All methods raise ``IntegrityError`` for what is broken."""

    def fail(self, what: str, entry: str = "") -> IntegrityError:
        """An error that names the image and the entry at hand."""
        ...

    def inode(self, reference: int, path: str) -> I | None:
        """The inode that a name refers to; None for a socket, which no entry stream has."""
        ...

    def names(self, inode: I, path: str) -> Iterator[tuple[bytes, int | None]]:
        """The names in a directory, in order, and what each refers to; None for one to pass over."""
        ...

    def pieces(self, inode: I, path: str) -> Iterator[bytes]:
        """The contents of a file, piece by piece."""
        ...


def walk(system: FileSystem[I], root: int, *, max_entries: int) -> Iterator[Entry]:
    """What is below the root, which ``root`` refers to: in tree order, names of one file after the first as hard links.

    Contents up to ``SMALL_BYTES`` are given as bytes, larger ones as a stream that is valid until the next entry.
    Raises ``IntegrityError``.
    """
    return _Walk(system, max_entries).entries(root)


class _Walk(Generic[I]):
    def __init__(self, system: FileSystem[I], max_entries: int) -> None:
        self._system = system
        self._left = max_entries
        self._seen: set[int] = set()
        self._linked: dict[int, str] = {}

    def entries(self, reference: int) -> Iterator[Entry]:
        """Everything below the root."""
        root = self._system.inode(reference, "")
        if root is None or root.entry.kind is not Kind.DIRECTORY:
            raise self._system.fail("the root is no directory")
        pending = [self._listing(root, "")]
        while pending:
            found = next(pending[-1], None)
            if found is None:
                pending.pop()
                continue
            path, reference = found
            inode = self._system.inode(reference, path)
            if inode is None:
                continue
            yield from self._give(inode, path)
            if inode.entry.kind is Kind.DIRECTORY:
                pending.append(self._listing(inode, path))

    def _give(self, inode: I, path: str) -> Iterator[Entry]:
        """The entry of one name."""
        entry = inode.entry
        self._left -= 1
        if self._left < 0:
            raise self._system.fail("the image has too many entries", path)
        if entry.kind is Kind.DIRECTORY or entry.links == 1:
            yield from self._whole(inode, replace(entry, path=path, links=1))
        elif inode.number in self._linked:
            yield replace(entry, path=path, kind=Kind.HARDLINK, target=self._linked[inode.number], size=0, links=1)
        else:
            self._linked[inode.number] = path
            yield from self._whole(inode, replace(entry, path=path))

    def _whole(self, inode: I, entry: Entry) -> Iterator[Entry]:
        """The entry with its contents."""
        if entry.kind is not Kind.FILE:
            yield entry
            return
        contents = Contents(self._system.pieces(inode, entry.path))
        if entry.size <= SMALL_BYTES:
            yield replace(entry, data=contents.read())
            return
        yield replace(entry, data=cast(BinaryIO, contents))
        contents.close()

    def _listing(self, inode: I, path: str) -> Iterator[tuple[str, int]]:
        """Path and reference of what a directory holds. A directory that comes twice would be a loop."""
        system = self._system
        if inode.number in self._seen:
            raise system.fail("a directory stands at two places", path)
        self._seen.add(inode.number)
        last = b""
        for name, reference in system.names(inode, path):
            if name <= last or b"/" in name or b"\0" in name or len(name) > NAME_BYTES:
                raise system.fail(f"a name {name!r} after {last!r}", path)
            last = name
            if reference is not None:
                text = name.decode("utf-8", "surrogateescape")
                full = f"{path}/{text}" if path else text
                if len(full) > PATH_BYTES:
                    raise system.fail("a path is too long", full[:80])
                yield full, reference


class Contents(io.RawIOBase):
    """The contents of a file; ``read`` gives all that was asked for, until they end."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._piece = b""
        self._offset = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def read(self, size: int | None = -1) -> bytes:
        """The next ``size`` bytes, all that are left when negative."""
        if self.closed:
            raise ValueError("read after the next entry was taken")
        if size is None or size < 0:
            rest, self._piece, self._offset = self._piece[self._offset :], b"", 0
            return b"".join((rest, *self._pieces))
        parts = []
        while size > 0:
            if self._offset == len(self._piece):
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece, self._offset = piece, 0
            part = self._piece[self._offset : self._offset + size]
            self._offset += len(part)
            size -= len(part)
            parts.append(part)
        return b"".join(parts)

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer``; 0 at the end."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
