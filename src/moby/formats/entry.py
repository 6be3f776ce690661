"""One entry of a file tree, as every archive and file-system codec here sees it.

An entry stream is an ``Iterable[Entry]`` in archive order: a directory comes before what it holds, a hard link
after its target, and of two entries with the same path the later one wins.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import BinaryIO, Final


class Kind(enum.Enum):
    """What an entry is. The values are the ``S_IFMT`` bits of ``st_mode``; a hard link has none of its own."""

    HARDLINK = 0
    FIFO = 0o010000
    CHAR = 0o020000
    DIRECTORY = 0o040000
    BLOCK = 0o060000
    FILE = 0o100000
    SYMLINK = 0o120000

    # There is one object of each, and tables by kind are looked into for every file: Enum's own would hash the name.
    __hash__ = object.__hash__


# For loops over all entries: before Python 3.12 ``Kind.FILE`` takes six times as long as ``FILE``.
FILE: Final = Kind.FILE
DIRECTORY: Final = Kind.DIRECTORY
SYMLINK: Final = Kind.SYMLINK
HARDLINK: Final = Kind.HARDLINK


@dataclass(slots=True)
class Entry:
    """A file, directory, link, device or fifo with its metadata. Nobody changes one: ``replace`` makes another.

    It is not frozen, as there are tens of thousands, and a frozen one takes four times as long to make.

    ``path`` is relative, ``/``-separated, without ``.``, ``..``, empty parts, leading or trailing slash.
    ``mode`` holds permission bits only (``0o7777``), ``mtime_s`` seconds since 1970, ``size`` bytes of a FILE.
    ``target`` is a symlink's text, or the path of a hard link's earlier entry in the same stream.
    ``links`` is how many names a FILE has in its stream, where its producer knows that; a cpio archive must say so
    before the second name comes.
    ``data`` of a FILE is its bytes, or a binary stream of exactly ``size`` bytes that is valid until the next entry is
    taken from the iterator; everything else has ``b""``.
    ``origin`` says which input it came from (``init[0]``, ``services[2]``, ``files[4]``), for messages and evidence.
    """

    path: str
    kind: Kind
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime_s: int = 0
    size: int = 0
    target: str = ""
    major: int = 0
    minor: int = 0
    xattrs: tuple[tuple[str, bytes], ...] = ()
    links: int = 1
    data: bytes | BinaryIO = b""
    origin: str = ""


def file(path: str, data: bytes, *, mode: int = 0o644, mtime_s: int = 0, origin: str = "") -> Entry:
    """A root-owned regular file with these bytes."""
    return Entry(path=path, kind=Kind.FILE, mode=mode, mtime_s=mtime_s, size=len(data), data=data, origin=origin)


def directory(path: str, *, mode: int = 0o755, mtime_s: int = 0, origin: str = "") -> Entry:
    """A root-owned directory."""
    return Entry(path=path, kind=Kind.DIRECTORY, mode=mode, mtime_s=mtime_s, origin=origin)


def symlink(path: str, target: str, *, mode: int = 0o777, mtime_s: int = 0, origin: str = "") -> Entry:
    """A root-owned symbolic link."""
    return Entry(path=path, kind=Kind.SYMLINK, mode=mode, mtime_s=mtime_s, target=target, origin=origin)
