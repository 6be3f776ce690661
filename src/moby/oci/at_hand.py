"""Images as far as the store has them, for checks that may not pull."""

from __future__ import annotations

from moby.oci.digest import Digest
from moby.oci.image import Image
from moby.oci.manifest import ImageConfig, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store


class AtHand:
    """A resolver that takes an image which is not in ``store`` for one that says nothing about itself."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image of the store, or one without settings and layers."""
        found = self._store.meaning(reference, platform) if reference.transport is None else None
        if found is not None:
            return found[1]
        digest = Digest.of(str(reference).encode())
        return Image(reference=reference, digest=digest, platform=platform, config=ImageConfig(), layers=())
