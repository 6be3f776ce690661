"""What an image's files become in the root file system: the same tree, fit for a machine or a container.

Files that a container engine left (``.dockerenv``, ``etc/hostname``, …) go; the mount points and files that every root
needs come. Devices, owners, modes and times of everything else stay as the image has them.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import replace

from moby.errors import IntegrityError
from moby.formats.entry import DIRECTORY, HARDLINK, SYMLINK, Entry, directory, file, symlink
from moby.rootfs.constants import FIXED_MTIME_S

HOSTS = b"""\
127.0.0.1       localhost
::1     localhost ip6-localhost ip6-loopback
fe00::0 ip6-localnet
ff00::0 ip6-mcastprefix
ff02::1 ip6-allnodes
ff02::2 ip6-allrouters
"""
NO_RESOLVER = b"\n# no resolv.conf configured\n"

_DROPPED = frozenset(
    (".dockerenv", "Dockerfile", "dev/console", "dev/pts", "dev/shm", "etc/hostname", "etc/hosts", "etc/resolv.conf")
)
_MTAB = "etc/mtab"
_DIRECTORIES = frozenset(("dev", "dev/pts", "dev/shm", "etc", "proc", "sys"))
_SPECIAL = _DROPPED | _DIRECTORIES | {_MTAB}


class Resolver(enum.Enum):
    """What stands at ``etc/resolv.conf``: a link to a file written at run time, or a text without servers."""

    LINK = enum.auto()
    TEXT = enum.auto()


def contents(entries: Iterable[Entry], prefix: str, resolver: Resolver, *, origin: str) -> Iterator[Entry]:
    """``entries`` of one image, moved below ``prefix`` (``""`` is the root), and then what was missing in it.

    What is written here anew, ``etc/hosts`` for instance, comes once, in place of the image's own.
    Raises ``IntegrityError`` for a hard link to a dropped file that is too large to be kept for it.
    """
    image = _Image(f"{prefix}/" if prefix else "", origin)
    for entry in entries:
        if entry.path in _SPECIAL or entry.kind is HARDLINK:
            yield from image.special(entry)
        else:
            yield replace(entry, path=image.prefix + entry.path) if prefix else entry
    yield from image.missing(resolver)


class _Image:
    """One image passing by: what was seen of the special names, and dropped files that may have other names."""

    def __init__(self, prefix: str, origin: str) -> None:
        self.prefix = prefix
        self._origin = origin
        self._seen: set[str] = set()
        self._dropped: dict[str, Entry] = {}

    def special(self, entry: Entry) -> Iterator[Entry]:
        """What becomes of a special name or a hard link."""
        path = entry.path
        if path in _DIRECTORIES and entry.kind is DIRECTORY:
            yield self._directory(path)
        elif path in _DROPPED:
            self._dropped[path] = entry
        elif path == _MTAB:
            self._seen.add(path)
            yield from self._moved(replace(entry, mtime_s=FIXED_MTIME_S))
        elif path not in _DIRECTORIES or entry.kind is SYMLINK:
            yield from self._moved(entry)

    def missing(self, resolver: Resolver) -> Iterator[Entry]:
        """The directories and files every root has, in the original's order, as far as they did not come yet."""
        yield from self._directories("dev", "dev/pts", "dev/shm", "etc")
        yield self._file("etc/hosts", HOSTS)
        if _MTAB not in self._seen:
            yield self._symlink(_MTAB, "/proc/mounts", 0o755)
        if resolver is Resolver.LINK:
            yield self._symlink("etc/resolv.conf", "/run/resolvconf/resolv.conf", 0o644)
        else:
            yield self._file("etc/resolv.conf", NO_RESOLVER)
        yield from self._directories("proc", "sys")

    def _moved(self, entry: Entry) -> Iterator[Entry]:
        path = self.prefix + entry.path
        if entry.kind is not HARDLINK:
            yield replace(entry, path=path)
        elif entry.target not in _DROPPED:
            yield replace(entry, path=path, target=self.prefix + entry.target)
        else:
            yield replace(self._kept(entry), path=path, mtime_s=entry.mtime_s)

    def _kept(self, link: Entry) -> Entry:
        """The dropped file that ``link`` was another name of."""
        kept = self._dropped.get(link.target)
        if kept is None or not isinstance(kept.data, bytes):
            raise IntegrityError(
                f"a hard link to {link.target}, which is left out", where=f"{link.origin}: {link.path}"
            )
        return kept

    def _directories(self, *paths: str) -> Iterator[Entry]:
        return (self._directory(path) for path in paths if path not in self._seen)

    def _directory(self, path: str) -> Entry:
        self._seen.add(path)
        return directory(self.prefix + path, mtime_s=FIXED_MTIME_S, origin=self._origin)

    def _file(self, path: str, data: bytes) -> Entry:
        return file(self.prefix + path, data, mtime_s=FIXED_MTIME_S, origin=self._origin)

    def _symlink(self, path: str, target: str, mode: int) -> Entry:
        return symlink(self.prefix + path, target, mode=mode, mtime_s=FIXED_MTIME_S, origin=self._origin)
