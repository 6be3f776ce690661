"""From YAML files to a plan, with the images it names in the store."""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from moby import outputs, pins, unchanged
from moby.components.build import Components
from moby.config import load
from moby.config.model import Config
from moby.config.places import in_order
from moby.context import Context
from moby.errors import ConfigError, MobyError, together
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.resolve import ImageSource, PullPolicy
from moby.oci.store import Store
from moby.options import BuildOptions, architecture
from moby.plan import Plan, plan

if TYPE_CHECKING:
    from moby.oci.engine import Engine
    from moby.oci.trust import Verifier

Sources = str | PathLike[str] | Sequence[str | PathLike[str]]
# A YAML file by its name, with the SHA-256 (hex) of its bytes.
Seen = tuple[str, str]


def read(sources: Sources, components: Components, *, context: Context, stdin: BinaryIO | None = None) -> Config:
    """The merged configuration of YAML files, with ``@pkg:`` names replaced. Raises ``ConfigError``."""
    return draft(sources, components, context=context, stdin=stdin).checked()


def draft(
    sources: Sources,
    components: Components,
    *,
    context: Context,
    stdin: BinaryIO | None = None,
    seen: Callable[[Seen], None] | None = None,
) -> load.Draft:
    """As ``read``, with all faults in the result instead of an error.

    ``seen`` is told the name of each file and the SHA-256 (hex) of its bytes.
    """

    def template(name: str, directory: Path | None) -> str:
        return str(components.reference(name, directory))

    def hashed(source: str, text: bytes) -> None:
        if seen is not None:
            seen((source, hashlib.sha256(text).hexdigest()))

    return load.draft(names(sources), context=context, templates=template, stdin=stdin, seen=hashed)


def decide(
    sources: Sources,
    store: Store,
    *,
    context: Context,
    options: BuildOptions | None = None,
    stdin: BinaryIO | None = None,
    layers: bool = True,
) -> Plan:
    """The plan of YAML files, with every image in ``store``. Raises ``MobyError``.

    Without ``layers`` images are not pulled, only their configurations; components are built all the same.
    """
    components = Components(context, store)
    found = draft(sources, components, context=context, stdin=stdin)
    options = with_lock(options or BuildOptions(), names(sources))
    return settle(found, components, store, context=context, options=options, layers=layers)


def with_lock(options: BuildOptions, files: Sequence[str]) -> BuildOptions:
    """The options with the lock that is beside ``files``, when they name none themselves.

    Raises ``ConfigError`` when the one they name is not there, even if no image turns out to need it.
    """
    if options.lock is not None:
        return replace(options, lock=_there(options.lock))
    path = pins.beside(files)
    return replace(options, lock=path if options.locked or path.exists() else None)


def _there(lock: Path) -> Path:
    with contextlib.suppress(OSError):  # reading it tells
        if not lock.exists():
            fix = f"make it: moby lock --lock {lock} FILE.yml"
            raise ConfigError("there is no such file", where=f"--lock {lock}", fix=fix)
    return lock


def asked_formats(config: Config) -> tuple[str, ...]:
    """The formats that files of March 2017 ask for."""
    return tuple(dict.fromkeys(wanted.modern for wanted in config.outputs))


def with_formats(found: load.Draft) -> load.Draft:
    """``found`` with the faults of formats that files of March 2017 ask for and that are not made here."""
    faults = []
    for index, wanted in enumerate(found.config.outputs):
        if wanted.modern not in outputs.FORMATS:
            where = found.config.places.where(("outputs", index, "format"))
            near = difflib.get_close_matches(wanted.modern, outputs.FORMATS, n=1)
            fix = f"did you mean {near[0]}?" if near else "one of " + ", ".join(sorted(outputs.FORMATS))
            spelt = f", spelt {wanted.format!r} here," if wanted.format != wanted.modern else ""
            what = f"format {wanted.modern!r}{spelt} is not one that can be made"
            faults.append(ConfigError(what, where=where, fix=fix))
    return replace(found, faults=(*found.faults, *faults))


def settle(
    found: load.Draft,
    components: Components,
    store: Store,
    *,
    context: Context,
    options: BuildOptions,
    layers: bool = True,
) -> Plan:
    """The plan of a configuration that ``draft`` gave with the same ``components``. Raises ``MobyError``.

    First the configurations of all images are fetched, which are small, and everything is checked; what is wrong in
    the YAML and in the images comes in one error. Only then images are pulled, with ``layers``, and components built.
    """
    config, faults = found.config, list[MobyError](found.faults)
    if not found.is_readable:
        raise together(in_order(faults, found.files))
    policy = PullPolicy.ALWAYS if options.pull else PullPolicy.MISSING
    locked = pins.Pins.read(options.lock) if options.lock is not None else None
    engine = _engine(context) if options.docker else None
    with Registry.connect(context) as registry:
        verifier = None
        try:
            verifier = _verifier(config, store, registry, context=context, options=options)
        except ConfigError as error:
            faults.append(error)
        source = ImageSource(store, registry, policy, verifier=verifier, engine=engine)
        images = _Images(components, source)
        resolver: pins.Resolver = images
        if locked is not None:
            resolver = pins.Pinned(images, locked, where=str(options.lock), locked=options.locked)
        target = architecture(options.architecture)

        def planned() -> Plan:
            given, files = bool(options.keys), found.files
            return plan(config, resolver, architecture=target, look=_look, known=faults, order=files, keys=given)

        made = planned()
        if not images.get(layers=layers):
            return made
        return planned()


class _Images:
    """Gives the planner its images: components, and what the store or a registry has.

    At first an image that is not in the store is only its configuration; ``get`` gets the rest of it.
    """

    def __init__(self, components: Components, source: ImageSource) -> None:
        self._components = components
        self._source = source
        self._looking = True
        self._layers = False
        self._foreseen = False

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image for ``platform``. Raises ``MobyError`` that says where it was looked for."""
        if self._looking and (component := self._components.foresee(reference, platform)):
            self._foreseen = True
            return component
        source = self._source.resolve if self._layers else self._source.look
        return self._components.resolve(reference, platform) or source(reference, platform)

    def get(self, *, layers: bool) -> bool:
        """Let ``resolve`` build components, and pull images if ``layers``; False when it has nothing to get."""
        self._looking, self._layers = False, layers
        return self._foreseen or (layers and self._source.is_waiting)


def _engine(context: Context) -> Engine:
    """The Docker or Podman engine of this host."""
    from moby.oci.engine import Engine  # slow to import

    return Engine.of(context.environment)


def _look(path: Path) -> os.stat_result:
    """Ask about a file of this host: whether it is there decides, too."""
    unchanged.inputs().add(path)
    return path.stat()


def _verifier(
    config: Config, store: Store, registry: Registry, *, context: Context, options: BuildOptions
) -> Verifier | None:
    """Who looks at signatures; None when there is nothing to verify."""
    if config.trust is None and not options.keys and not options.policy:
        return None
    from moby.config.trust import trust
    from moby.oci.trust import Verifier

    home = Path(context.environment.get("HOME") or Path.home())
    wanted = trust(config, keys=options.keys, policy=options.policy, home=home, read=_head)
    return Verifier(trust=wanted, store=store, registry=registry)


def _head(path: Path, limit_bytes: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(limit_bytes)


def names(sources: Sources) -> tuple[str, ...]:
    """The sources as they were written."""
    return (fspath(sources),) if isinstance(sources, str | PathLike) else tuple(fspath(each) for each in sources)
