"""Which layer of an image a path comes from, and what of lower layers it hides."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

from moby.formats import tar
from moby.formats.compress import decompress
from moby.formats.entry import Entry, Kind
from moby.oci.image import Image
from moby.oci.manifest import Descriptor
from moby.oci.store import Store
from moby.oci.tree import Flat, Tree, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One layer's entry for a path. ``number`` counts layers from 1 at the bottom; ``kept`` is the one in force."""

    path: str
    number: int
    layer: Descriptor
    kind: Kind
    mode: int
    uid: int
    gid: int
    size: int
    kept: bool


def trace(store: Store, image: Image, matches: Callable[[str], bool]) -> tuple[Version, ...]:
    """Every entry of the image's layers whose path in the image ``matches``, bottom first.

    Raises ``IntegrityError`` when a layer is damaged or breaks the rules.
    """
    tree = Tree()
    for layer in image.layers:
        tree.begin(where=str(layer.digest))
        for entry in _entries(store, layer):
            tree.add(entry)
    return tuple(_versions(store, image, matches, tree.flatten()))


def _versions(store: Store, image: Image, matches: Callable[[str], bool], flat: Flat) -> Iterator[Version]:
    found: list[Version] = []
    for number, layer in enumerate(image.layers):
        for ordinal, entry in enumerate(_entries(store, layer)):
            at = place(number, ordinal)
            path = flat.promoted.get(at, flat.moved.get(at, entry.path))
            if matches(path):
                kept = at in flat.promoted or bool(flat.kept[number][ordinal])
                found.append(_version(path, number, layer, entry, kept=kept))
    # A directory is in force from the last layer that has it.
    there = [index for index, each in enumerate(found) if each.kind is Kind.DIRECTORY and each.path in flat.directories]
    if there:
        found[there[-1]] = replace(found[there[-1]], kept=True)
    yield from found


def _version(path: str, number: int, layer: Descriptor, entry: Entry, *, kept: bool) -> Version:
    return Version(
        path=path,
        number=number + 1,
        layer=layer,
        kind=entry.kind,
        mode=entry.mode,
        uid=entry.uid,
        gid=entry.gid,
        size=entry.size,
        kept=kept,
    )


def _entries(store: Store, layer: Descriptor) -> Iterator[Entry]:
    where = str(layer.digest)
    with store.open_blob(layer.digest) as packed, closing(decompress(packed, where=where)) as plain:
        yield from tar.read(plain, where=where)
