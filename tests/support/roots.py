"""Root file systems of a YAML text and images made by code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from moby.config.load import parse
from moby.formats.entry import Entry
from moby.oci.resolve import ImageSource
from moby.oci.store import Store
from moby.plan import Plan, plan
from moby.rootfs.build import entries
from tests.support.images import MadeImage
from tests.support.tree import Node, unpack


@dataclass(frozen=True, slots=True)
class Root:
    """A plan and the store that has its images."""

    plan: Plan
    store: Store

    def tree(self, *, decompress_kernel: bool = False) -> dict[str, Node]:
        """What the build unpacks to."""
        return unpack(entries(self.plan, self.store, decompress_kernel=decompress_kernel))

    def held(self) -> list[Entry]:
        """All entries with their bodies in memory, in order."""
        return [_held(entry) for entry in entries(self.plan, self.store)]


def _held(entry: Entry) -> Entry:
    return entry if isinstance(entry.data, bytes) else replace(entry, data=entry.data.read(entry.size))


def root(
    folder: Path, text: str, images: Mapping[str, MadeImage] | None = None, *, architecture: str = "amd64"
) -> Root:
    """The build of ``text`` whose images, by expanded name, are put into a store below ``folder``."""
    store = Store(folder / "store")
    for name, image in (images or {}).items():
        image.save(store, name)
    return Root(plan(parse(text), ImageSource(store, None), architecture=architecture), store)
