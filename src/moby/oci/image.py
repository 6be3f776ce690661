"""An image of one platform, resolved: what the later stages work with."""

from __future__ import annotations

from dataclasses import dataclass, field

from moby.oci.digest import Digest
from moby.oci.manifest import Descriptor, ImageConfig, Platform
from moby.oci.reference import Reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One image in the store. ``digest`` is its manifest's for this platform; ``layers`` are bottom first.

    ``root`` is what the name means, an index or the manifest itself, where that is known.
    """

    reference: Reference
    digest: Digest
    platform: Platform
    config: ImageConfig
    layers: tuple[Descriptor, ...]
    root: Descriptor | None = field(default=None, compare=False)
