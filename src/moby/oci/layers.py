"""An image's layers as one tree of entries, streamed.

The headers of all layers are read first (``tree.py`` decides what remains), then the layers once more for their data:
nothing is unpacked to disk, and memory grows with the number of entries, not with bytes, up to a limit.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from sys import getsizeof
from typing import TYPE_CHECKING, BinaryIO, cast

from moby.errors import IntegrityError
from moby.formats import tar
from moby.formats.compress import decompress
from moby.formats.entry import DIRECTORY, FILE, HARDLINK, Entry
from moby.oci.image import Image
from moby.oci.manifest import LAYER_TYPES, Descriptor
from moby.oci.store import Store
from moby.oci.tree import MAX_ENTRIES, MEMORY_BYTES, Flat, Tree, place

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Real layers unpack to 2 to 20 times their size; gzip can reach 1030 times and zstd far more.
_MAX_RATIO = 400
_ALWAYS_ALLOWED_BYTES = 4 << 30
# A name's slot in a set that has just grown.
_NAME_BYTES = 72


def entries(
    store: Store,
    image: Image,
    *,
    origin: str = "",
    max_entries: int = MAX_ENTRIES,
    memory_bytes: int = MEMORY_BYTES,
) -> Iterator[Entry]:
    """The image's tree: bottom layer first, each in its archive's order, a directory before what it holds.

    Whiteouts are applied; no path comes twice; a directory that no layer has but a path needs is made with mode 0755.
    A hard link follows its file, which moves to the link's path when a later layer took its own. A file's data is
    valid until the next entry is taken. Raises ``IntegrityError`` with the layer's digest and the entry's name, as for
    more than ``max_entries`` entries and for more than fit into ``memory_bytes``.
    """
    tree = Tree(max_entries, memory_bytes)
    for layer in image.layers:
        where = _where(image, layer)
        tree.begin(where=where)
        with _opened(store, layer, where, check=True) as stream:
            for entry in tar.read(stream, limits=tar.Limits(entries=max_entries), where=where):
                tree.add(entry)
    yield from _Writer(tree.flatten(), origin, tar.Limits(entries=max_entries)).entries(store, image)


class UnorderedError(Exception):
    """The archive of an image is not yet the tree that it stands for; ``entries`` makes it one."""


def ordered(store: Store, image: Image, *, origin: str = "", max_entries: int = MAX_ENTRIES) -> Iterator[Entry]:
    """What ``entries`` gives, in one pass, for an image whose one layer holds the tree as it is.

    That is: no path twice, a directory before what it holds, nothing that hides something, and files with several names
    that say how many. Raises ``UnorderedError`` as soon as it turns out otherwise, perhaps only at the end, and what
    ``entries`` raises.
    """
    if len(image.layers) != 1:
        raise UnorderedError
    where = _where(image, image.layers[0])
    order = _Order(MEMORY_BYTES)
    with _opened(store, image.layers[0], where, check=True) as stream:
        for entry in tar.read(stream, limits=tar.Limits(entries=max_entries), where=where, origin=origin):
            order.check(entry)
            yield entry
    order.end()


class _Order:
    """Looks at entries passing by. ``_missing`` are names of a file with several that are still to come."""

    def __init__(self, memory_bytes: int) -> None:
        self._directories = {""}
        self._names: set[str] = set()
        self._missing: dict[str, int] = {}
        self._left = memory_bytes

    def check(self, entry: Entry) -> None:
        path, kind, names = entry.path, entry.kind, self._names
        above, _, name = path.rpartition("/")
        if above not in self._directories or (name[0] == "." and name.startswith(".wh.")) or not _fits(name):
            raise UnorderedError
        count = len(names)
        names.add(path)
        if len(names) == count:
            raise UnorderedError
        self._left -= _NAME_BYTES + getsizeof(path)
        if kind is FILE:
            if entry.links > 1:
                self._missing[path] = entry.links - 1
        elif kind is DIRECTORY:
            self._directories.add(path)
        elif kind is HARDLINK:
            if not self._missing.get(entry.target):
                raise UnorderedError
            self._missing[entry.target] -= 1
        if self._left < 0:
            raise UnorderedError

    def end(self) -> None:
        if any(self._missing.values()):
            raise UnorderedError


def _fits(name: str) -> bool:
    """Whether a name certainly has 255 bytes at most."""
    return len(name) < 64 or (len(name) < 256 and name.isascii())


class _Writer:
    """The data pass: gives each entry that ``flat`` keeps, with its final path."""

    def __init__(self, flat: Flat, origin: str, limits: tar.Limits) -> None:
        self._flat = flat
        self._origin = origin
        self._limits = limits
        self._specials: dict[int, Entry] = {}
        self._linked = Counter(origin for origin, _ in flat.links.values())

    def entries(self, store: Store, image: Image) -> Iterator[Entry]:
        for number, layer in enumerate(image.layers):
            where = _where(image, layer)
            with _opened(store, layer, where, check=False) as stream:
                for ordinal, entry in enumerate(tar.read(stream, limits=self._limits, where=where)):
                    yield from self._one(place(number, ordinal), entry, self._flat.kept[number][ordinal])
        for path in sorted(self._flat.directories):
            yield from self._directories(path)

    def _one(self, at: int, entry: Entry, kept: int) -> Iterator[Entry]:
        flat = self._flat
        if entry.kind is DIRECTORY:
            yield from self._directories(entry.path)
            return
        path = flat.moved.get(at, entry.path) if kept else flat.promoted.get(at)
        if path is None:
            return
        if above := path.rpartition("/")[0]:
            yield from self._directories(above)
        if at in flat.links:
            yield self._link(at, entry, path)
            return
        written = replace(entry, path=path, origin=self._origin, links=1 + self._linked[at])
        if at in self._linked and entry.kind is not FILE:
            self._specials[at] = written
        yield written

    def _link(self, at: int, entry: Entry, path: str) -> Entry:
        """A hard link. One to a symbolic link or a device becomes a copy, since archives disagree on such links."""
        origin, target = self._flat.links[at]
        special = self._specials.get(origin)
        if special is not None:
            return replace(special, path=path)
        return replace(entry, path=path, target=target, origin=self._origin)

    def _directories(self, path: str) -> Iterator[Entry]:
        """The directory ``path`` and those above it, as far as they were not given yet."""
        chain = []
        while entry := self._flat.directories.pop(path, None):
            chain.append(replace(entry, origin=self._origin))
            path = path.rpartition("/")[0]
        return reversed(chain)


class _Bounded(io.RawIOBase):
    """Reads ``stream`` and refuses to give more than ``limit_bytes``."""

    def __init__(self, stream: BinaryIO, limit_bytes: int, where: str) -> None:
        self._stream = stream
        self._limit_bytes = limit_bytes
        self._left = limit_bytes
        self._where = where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        view = memoryview(buffer).cast("B")
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise IntegrityError(f"layer unpacks to more than {self._limit_bytes} bytes", where=self._where)
        return data


@contextlib.contextmanager
def _opened(store: Store, layer: Descriptor, where: str, *, check: bool) -> Iterator[BinaryIO]:
    """The layer's uncompressed archive."""
    if layer.media_type not in LAYER_TYPES:
        raise IntegrityError(f"layer of unknown type {layer.media_type[:160]!r}", where=where)
    limit = max(_ALWAYS_ALLOWED_BYTES, _MAX_RATIO * layer.size)
    with (
        store.open_blob(layer.digest, check=check) as packed,
        contextlib.closing(decompress(packed, where=where)) as plain,
    ):
        yield cast(BinaryIO, _Bounded(plain, limit, where))
        while packed.read(1 << 20):
            pass


def _where(image: Image, layer: Descriptor) -> str:
    return f"{image.reference} layer {layer.digest}"
