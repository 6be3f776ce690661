"""Where images come from: the store, then the registry."""

from __future__ import annotations

import enum
from functools import partial
from typing import TYPE_CHECKING

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store

if TYPE_CHECKING:
    from moby.oci.trust import Verifier

LOCAL_PREFIX = "localhost/moby/"


class PullPolicy(enum.StrEnum):
    """When to ask the registry."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class ImageSource:
    """Finds images. Implements the resolver that plans are made with. With a ``verifier`` some must be signed."""

    def __init__(
        self,
        store: Store,
        registry: Registry | None,
        pull: PullPolicy = PullPolicy.MISSING,
        *,
        verifier: Verifier | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._pull = pull
        self._verifier = verifier

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image for ``platform``, pulled when it has to be.

        Raises ``RegistryError`` or ``IntegrityError`` that lists every place looked in, in order, and what each said.
        """
        image = self._stored(reference, platform) or self._pulled(reference, platform)
        if self._verifier is not None and self._verifier.covers(reference):
            self._verifier.after(image, platform)
        if image.platform.architecture and not platform.accepts(image.platform):
            log.info(f"{reference} is an image for {image.platform}, used for {platform}: it offers nothing else")
        return image

    def _stored(self, reference: Reference, platform: Platform) -> Image | None:
        # What a digest names cannot have changed.
        if self._pull is PullPolicy.ALWAYS and reference.digest is None and not _is_local(reference):
            return None
        return self._store.find(reference, platform)

    def _pulled(self, reference: Reference, platform: Platform) -> Image:
        if _is_local(reference):
            fix = "build it: moby pkg build, or write @pkg:NAME in the YAML"
            raise self._missing(reference, platform, "not a registry's name: these images are built here", fix)
        if self._registry is None or self._pull is PullPolicy.NEVER:
            raise self._missing(reference, platform, "not asked, as pulling is turned off", "allow pulling")
        try:
            verifier = self._verifier if self._verifier is not None and self._verifier.covers(reference) else None
            check = partial(verifier.before, reference) if verifier is not None else None
            return self._registry.pull(reference, platform, self._store, check=check)
        except IntegrityError:
            raise
        except RegistryError as error:
            raise self._missing(reference, platform, error.what, error.fix) from error

    def _missing(self, reference: Reference, platform: Platform, said: str, fix: str) -> RegistryError:
        store = f"not there for {platform}" if any(map(self._store.descriptors, reference.names)) else "not there"
        if self._pull is PullPolicy.ALWAYS and not _is_local(reference):
            store = "not looked at, as pulling is forced"
        places = (f"store {self._store.root}: {store}", f"registry {reference.registry}: {said}")
        lines = "".join(f"\n  {number}. {place}" for number, place in enumerate(places, 1))
        return RegistryError(f"image not found; looked in{lines}\n ", where=str(reference), fix=fix)


def _is_local(reference: Reference) -> bool:
    return str(reference).startswith(LOCAL_PREFIX)
