"""Pulls that do not sleep, and what they leave in a store."""

from __future__ import annotations

from collections.abc import Sequence

import httpx

from moby.oci import layers
from moby.oci.auth import Keychain
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.images import MadeImage, image

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")


class Puller:
    """Pulls, and remembers how long it would have slept."""

    def __init__(self, client: httpx.Client, *, mirrors: Sequence[str] = (), keychain: Keychain | None = None) -> None:
        self.slept: list[float] = []
        self.registry = Registry(lambda: client, mirrors=mirrors, keychain=keychain, sleep=self.slept.append)

    def pull(self, text: str, store: Store, platform: Platform = AMD64) -> list[str]:
        found = self.registry.pull(Reference.parse(text), platform, store)
        return [entry.path for entry in layers.entries(store, found)]


def big(fill: str = "x") -> MadeImage:
    """An image whose only layer is large enough to be cut."""
    return image([{"big": fill * 300_000}], compression="none")


def state(store: Store) -> dict[str, bytes]:
    """Every file but the lock, by name."""
    return {
        str(path.relative_to(store.root)): path.read_bytes()
        for path in store.root.rglob("*")
        if path.is_file() and path.name != ".lock"
    }
