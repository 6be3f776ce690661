"""Flattened layers as something to compare."""

from __future__ import annotations

from dataclasses import replace

from moby.formats.entry import Entry, Kind
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.store import Store
from tests.support.images import Layer, image

NAME = "localhost/t:1"


def collect(store: Store, found: Image, **options: int) -> list[Entry]:
    """The entries with their bodies read, held to the promises of an entry stream."""
    seen: dict[str, Kind] = {}
    result = []
    for entry in layers.entries(store, found, origin="init[0]", **options):
        above = entry.path.rpartition("/")[0]
        assert entry.path not in seen, f"{entry.path} comes twice"
        assert not above or seen[above] is Kind.DIRECTORY, f"{entry.path} has no directory"
        if entry.kind is Kind.HARDLINK:
            assert seen[entry.target] is Kind.FILE
        assert entry.origin == "init[0]"
        seen[entry.path] = entry.kind
        data = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size + 1)
        assert len(data) == entry.size
        result.append(replace(entry, data=data))
    return result


def flat(store: Store, *stack: Layer) -> dict[str, str | bytes]:
    """Each path of the flattened layers with what it is, in order."""
    return {entry.path: shown(entry) for entry in collect(store, image(stack).save(store, NAME))}


def shown(entry: Entry) -> str | bytes:
    match entry.kind:
        case Kind.FILE:
            assert isinstance(entry.data, bytes)
            return entry.data
        case Kind.DIRECTORY:
            return f"{entry.mode:o}"
        case Kind.SYMLINK:
            return f"-> {entry.target}"
        case Kind.HARDLINK:
            return f"= {entry.target}"
        case _:
            return f"{entry.kind.name} {entry.major}:{entry.minor}"
