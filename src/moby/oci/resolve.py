"""Where images come from: a file that the reference names, else the engine when asked for, the store, the registry."""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Check, Looked, Registry
from moby.oci.store import Store

if TYPE_CHECKING:
    from moby.oci.engine import Engine
    from moby.oci.trust import Verifier

LOCAL_PREFIX = "localhost/moby/"
# Asks the registry.
_Ask = Callable[[Reference, Platform], Image]


class PullPolicy(enum.StrEnum):
    """When to ask the registry."""

    MISSING = "missing"
    ALWAYS = "always"
    NEVER = "never"


class ImageSource:
    """Finds images. Implements the resolver that plans are made with. With a ``verifier`` some must be signed.

    An ``engine`` is asked first, unless pulling is forced. A file that a reference names needs no signature: who wrote
    its path has chosen it.
    """

    def __init__(
        self,
        store: Store,
        registry: Registry | None,
        pull: PullPolicy = PullPolicy.MISSING,
        *,
        verifier: Verifier | None = None,
        engine: Engine | None = None,
    ) -> None:
        self._store = store
        self._registry = registry
        self._pull = pull
        self._verifier = verifier
        self._engine = engine
        self._looked: dict[tuple[Reference, Platform], Looked] = {}
        self._told: set[tuple[Reference, Platform]] = set()

    @property
    def is_waiting(self) -> bool:
        """Whether ``look`` gave images that are to be pulled yet."""
        return bool(self._looked)

    def look(self, reference: Reference, platform: Platform) -> Image:
        """As ``resolve``, but of an image that has to be pulled only its configuration is; ``resolve`` then goes on.

        What a file or an engine has is copied whole.
        """
        return self._find(reference, platform, self._look)

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image for ``platform``, pulled when it has to be.

        Raises ``RegistryError`` or ``IntegrityError`` that lists every place looked in, in order, and what each said.
        """
        looked = self._looked.pop((reference, platform), None)
        return self._find(reference, platform, partial(self._pull_it, looked=looked))

    def _find(self, reference: Reference, platform: Platform, ask: _Ask) -> Image:
        said: list[str] = []
        image = self._beside(reference, platform, said)
        if image is None:
            stored = self._stored(reference, platform, said)
            image = stored or self._from_registry(reference, said, lambda: ask(reference, platform))
            # What is only looked at was verified then and is not in the store yet.
            if stored is not None or (reference, platform) not in self._looked:
                self._verify(image, reference, platform)
        other = bool(image.platform.architecture) and not platform.accepts(image.platform)
        if other and (reference, platform) not in self._told:
            self._told.add((reference, platform))
            log.info(f"{reference} is an image for {image.platform}, used for {platform}: it offers nothing else")
        return image

    def _beside(self, reference: Reference, platform: Platform, said: list[str]) -> Image | None:
        """The image from a file or from the engine, which keep no signatures."""
        if reference.transport is not None:
            from moby.oci import local

            return local.image(reference, platform, self._store)
        if self._engine is None or self._pull is PullPolicy.ALWAYS or _is_local(reference):
            return None
        place = f"engine {self._engine.address}"
        if self._verifier is not None and self._verifier.covers(reference):
            said.append(f"{place}: not asked, as the image must be signed")
            return None
        try:
            return self._engine.image(reference, platform, self._store)
        except RegistryError as error:
            said.append(f"{place}: {error.what}")
            return None

    def _verify(self, image: Image, reference: Reference, platform: Platform) -> None:
        if self._verifier is not None and self._verifier.covers(reference):
            self._verifier.after(image, platform)

    def _stored(self, reference: Reference, platform: Platform, said: list[str]) -> Image | None:
        place = f"store {self._store.root}"
        # What a digest names cannot have changed.
        if self._pull is PullPolicy.ALWAYS and reference.digest is None and not _is_local(reference):
            said.append(f"{place}: not looked at, as pulling is forced")
            return None
        image = self._store.find(reference, platform)
        if image is None:
            known = any(map(self._store.descriptors, reference.names))
            said.append(f"{place}: not there for {platform}" if known else f"{place}: not there")
        return image

    def _from_registry(self, reference: Reference, said: list[str], ask: Callable[[], Image]) -> Image:
        place = f"registry {reference.registry}"
        if _is_local(reference):
            fix = 'build it: moby pkg build, or write "@pkg:NAME" in the YAML'
            raise self._missing(reference, [*said, f"{place}: not a registry's name: these images are built here"], fix)
        if self._registry is None or self._pull is PullPolicy.NEVER:
            raise self._missing(reference, [*said, f"{place}: not asked, as pulling is turned off"], "allow pulling")
        try:
            return ask()
        except IntegrityError:
            raise
        except RegistryError as error:
            raise self._missing(reference, [*said, *_answers(reference, error)], error.fix) from error

    def _missing(self, reference: Reference, said: Sequence[str], fix: str) -> RegistryError:
        """The error that lists every place looked in, in order, and what each said; and a name like it, if there is."""
        import difflib  # only needed once something is wrong

        known = [name for name in self._store.names() if not name.startswith(LOCAL_PREFIX)]
        near = difflib.get_close_matches(str(reference), known, n=1, cutoff=0.8)
        guess = f"did you mean {near[0]}, which is in the store?" if near and near[0] != str(reference) else ""
        lines = "".join(f"\n  {number}. {each}" for number, each in enumerate(said, 1))
        advice = " else ".join(filter(None, (guess, fix)))
        return RegistryError(f"image not found; looked in{lines}\n ", where=str(reference), fix=advice)

    def _look(self, reference: Reference, platform: Platform) -> Image:
        assert self._registry is not None
        looked = self._looked.get((reference, platform))
        if looked is None:
            looked = self._registry.look(reference, platform, self._store, check=self._check(reference))
            self._looked[reference, platform] = looked
        return looked.image

    def _pull_it(self, reference: Reference, platform: Platform, *, looked: Looked | None) -> Image:
        assert self._registry is not None
        return self._registry.pull(reference, platform, self._store, check=self._check(reference), looked=looked)

    def _check(self, reference: Reference) -> Check | None:
        """What looks at signatures before an image is pulled."""
        verifier = self._verifier if self._verifier is not None and self._verifier.covers(reference) else None
        return partial(verifier.before, reference) if verifier is not None else None


def _answers(reference: Reference, error: RegistryError) -> list[str]:
    """What the registry said, after its mirror where it has one."""
    *mirrors, last = filter(None, map(str.strip, error.what.splitlines()))
    return [*(f"mirror {each}" for each in mirrors), f"registry {reference.registry}: {last}"]


def _is_local(reference: Reference) -> bool:
    return str(reference).startswith(LOCAL_PREFIX)
