"""``Config`` + ``Resolver`` → ``Plan``: every image pinned, every OCI specification computed, nothing written.

What can only be known from the images (their labels) is checked here for all of them before anything is raised.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from moby import fileplan, metadata
from moby.config import checks, decode, fields, legacy
from moby.config.container import ImageEntry, ImageLabel, Mount
from moby.config.model import Config, KernelSpec, VolumeSpec
from moby.config.places import Path as Place
from moby.config.places import in_order
from moby.config.salvage import UNKNOWN
from moby.effective import Effective, Origin, effective
from moby.errors import ConfigError, IntegrityError, MobyError, RegistryError, together
from moby.fileplan import FilePlan, Look
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.runtime import config_json, runtime_json

__all__ = [
    "ContainerPlan",
    "FilePlan",
    "InitPlan",
    "KernelPlan",
    "Plan",
    "Resolver",
    "VolumePlan",
    "container_ids",
    "images",
    "plan",
]

FIRST_ID = 100
DEFAULT_BINARY = "kernel"
DEFAULT_TAR = "kernel.tar"
VOLUMES = "containers/volumes"

Section = Literal["onboot", "onshutdown", "services"]
SECTIONS: tuple[Section, ...] = ("onboot", "onshutdown", "services")
_Pins = Mapping[tuple[Reference, Platform], Image]


class Resolver(Protocol):
    """Finds images."""

    def resolve(self, reference: Reference, platform: Platform) -> Image:
        """The image of that name for that platform. Raises a ``MobyError`` that lists where it looked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class KernelPlan:
    """The kernel: names of files in ``image``; ``tar`` and ``ucode`` are None when none is wanted."""

    image: Image
    cmdline: str
    binary: str
    tar: str | None
    ucode: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class InitPlan:
    """An image unpacked into the root."""

    image: Image


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumePlan:
    """A volume. ``images`` is empty for a blank one, and holds one image per platform of an oci volume.

    An oci volume without ``platforms`` holds every platform that the store has; ``images`` then names the target's.
    """

    name: str
    directory: str
    reference: Reference | None
    images: tuple[Image, ...]
    readonly: bool
    format: Literal["oci", "filesystem"]
    platforms: tuple[Platform, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPlan:
    """A container. Directories are relative to the root.

    ``unpack`` says that this is the first use of its image, whose files go to ``root_directory``; otherwise they are
    there already.
    """

    section: Section
    index: int
    name: str
    image: Image
    directory: str
    root_directory: str
    readonly: bool
    unpack: bool
    config_json: bytes
    runtime_json: bytes
    effective: Effective


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Everything that is decided before the first byte is written. ``metadata`` is the configuration in YAML."""

    architecture: str
    kernel: KernelPlan | None
    init: tuple[InitPlan, ...]
    volumes: tuple[VolumePlan, ...]
    containers: tuple[ContainerPlan, ...]
    files: tuple[FilePlan, ...]
    metadata: bytes
    warnings: tuple[str, ...]


def plan(
    config: Config,
    resolver: Resolver,
    *,
    architecture: str,
    home: Path | None = None,
    look: Look = Path.stat,
    known: Sequence[MobyError] = (),
    order: Sequence[str] = (),
    keys: bool = False,
) -> Plan:
    """Decide everything for ``config`` on ``linux/architecture``.

    ``home`` is what ``~/`` in ``source:`` means and ``look`` asks about a source; both default to the host's.
    ``keys`` is whether public keys are given beside those of ``config``.

    Raises one ``MobyError`` that carries everything wrong, by its place in the files, which come in ``order``: what is
    ``known`` to be (``config`` is what was left of the files then), images that the resolver does not give, labels
    and sources. It is of the resolver's kind when only images are missing, else a ``ConfigError``.
    """
    target = Platform(os="linux", architecture=architecture)
    faults: list[MobyError] = list(known)
    pins = _resolve(config, resolver, target, faults)
    containers = tuple(_containers(config, pins, target, faults))
    files = tuple(fileplan.files(config, container_ids(config), home or Path.home(), look, faults))
    if faults:
        raise together(in_order(faults, order or config.places.files()))
    return Plan(
        architecture=architecture,
        kernel=_kernel(config.kernel, pins, target),
        init=tuple(InitPlan(image=pins[Reference.parse(text), target]) for text in config.init or ()),
        volumes=tuple(_volume(each, pins, target) for each in config.volumes or ()),
        containers=containers,
        files=files,
        metadata=metadata.metadata_yaml(config),
        warnings=(*config.notices, *_warnings(config, containers, keys)),
    )


def images(config: Config, target: Platform) -> Iterator[tuple[Place, Reference, Platform]]:
    """Every image that a plan needs, with the place that asks for it; images used twice come twice."""
    if config.kernel and config.kernel.image:
        yield ("kernel", "image"), Reference.parse(config.kernel.image), target
    for index, text in enumerate(config.init or ()):
        yield ("init", index), Reference.parse(text), target
    for index, volume in enumerate(config.volumes or ()):
        if volume.image:
            for platform in _platforms(volume, target):
                yield ("volumes", index, "image"), Reference.parse(volume.image), platform
    for section, index, entry in _entries(config):
        yield (section, index, "image"), Reference.parse(entry.image), target


def container_ids(config: Config) -> dict[str, int]:
    """The number of each container, for ids by name: counted over all sections; a name used twice has its last."""
    return {entry.name: FIRST_ID + count for count, (_, _, entry) in enumerate(_entries(config))}


def _entries(config: Config) -> Iterator[tuple[Section, int, ImageEntry]]:
    for section in SECTIONS:
        entries: tuple[ImageEntry, ...] = getattr(config, section) or ()
        yield from ((section, index, entry) for index, entry in enumerate(entries))


def _resolve(config: Config, resolver: Resolver, target: Platform, faults: list[MobyError]) -> _Pins:
    """The images that there are; for each that is not there is a fault, at the place that asks for it first."""
    pins: dict[tuple[Reference, Platform], Image] = {}
    unknown = Reference.parse(UNKNOWN)
    asked: set[tuple[Reference, Platform]] = set()
    for place, reference, platform in images(config, target):
        if reference == unknown or (reference, platform) in asked:
            continue
        asked.add((reference, platform))
        try:
            pins[reference, platform] = resolver.resolve(reference, platform)
        except (ConfigError, RegistryError, IntegrityError) as error:
            error.where = ", ".join(filter(None, (config.places.where(place), error.where)))
            faults.append(error)
        except MobyError as error:
            error.where = ", ".join(filter(None, (config.places.where(place), error.where)))
            raise
    return pins


def _kernel(kernel: KernelSpec | None, pins: _Pins, target: Platform) -> KernelPlan | None:
    if kernel is None or not kernel.image:
        return None
    tar = DEFAULT_TAR if kernel.tar is None else kernel.tar
    return KernelPlan(
        image=pins[Reference.parse(kernel.image), target],
        cmdline=kernel.cmdline,
        binary=kernel.binary or DEFAULT_BINARY,
        tar=None if tar in ("", "none") else tar,
        ucode=kernel.ucode or None,
    )


def _platforms(volume: VolumeSpec, target: Platform) -> tuple[Platform, ...]:
    """The platforms whose images a volume holds."""
    listed = tuple(map(Platform.parse, volume.platforms or ())) if volume.format == "oci" else ()
    return listed or (target,)


def _volume(volume: VolumeSpec, pins: _Pins, target: Platform) -> VolumePlan:
    reference = Reference.parse(volume.image) if volume.image else None
    platforms = _platforms(volume, target)
    return VolumePlan(
        name=volume.name,
        directory=f"{VOLUMES}/{volume.name}",
        reference=reference,
        images=tuple(pins[reference, each] for each in platforms) if reference else (),
        readonly=volume.readonly,
        format=volume.format or "filesystem",
        platforms=platforms if volume.format == "oci" and volume.platforms else (),
    )


def _labels(
    config: Config, pins: _Pins, target: Platform, faults: list[MobyError]
) -> dict[Reference, ImageLabel | None]:
    """The settings in the labels of all containers' images; an image whose label is faulty is left out."""
    labels: dict[Reference, ImageLabel | None] = {}
    asked: set[Reference] = set()
    for section, index, entry in _entries(config):
        reference = Reference.parse(entry.image)
        if reference in asked or (reference, target) not in pins:
            continue
        asked.add(reference)
        text = (pins[reference, target].config.labels or {}).get(decode.LABEL, "")
        try:
            labels[reference] = decode.label(text, image=str(reference))
        except ConfigError as error:
            where = config.places.where((section, index, "image"))
            faults += (ConfigError(f"{each.where}: {each.what}", where=where, fix=each.fix) for each in error.each)
    return labels


def _containers(config: Config, pins: _Pins, target: Platform, faults: list[MobyError]) -> Iterator[ContainerPlan]:
    labels = _labels(config, pins, target, faults)
    ids = container_ids(config)
    roots: dict[Reference, str] = {}
    for section, index, entry in _entries(config):
        reference = Reference.parse(entry.image)
        if reference not in labels:
            continue
        image = pins[reference, target]
        try:
            own = legacy.with_image(_with_volumes(entry, config), image.config)
            settings = effective(own, labels[reference], image.config)
            yield _container((section, index, entry), image, settings, ids, roots)
        except ConfigError as error:
            where = config.places.where((section, index))
            faults += (ConfigError(each.what, where=each.where or where, fix=each.fix) for each in error.each)


def _container(
    key: tuple[Section, int, ImageEntry],
    image: Image,
    settings: Effective,
    ids: Mapping[str, int],
    roots: dict[Reference, str],
) -> ContainerPlan:
    """One container; ``roots`` remembers where each image is unpacked."""
    section, index, entry = key
    directory = f"containers/{section}/{entry.name if section == 'services' else f'{index:03}-{entry.name}'}"
    readonly = bool(settings.settings.readonly)
    reference = Reference.parse(entry.image)
    first = reference not in roots
    root = roots.setdefault(reference, f"{directory}/{'rootfs' if readonly else 'lower'}")
    return ContainerPlan(
        section=section,
        index=index,
        name=entry.name,
        image=image,
        directory=directory,
        root_directory=root,
        readonly=readonly,
        unpack=first,
        config_json=_config_json(settings, ids),
        runtime_json=runtime_json(settings.runtime, directory=directory, root_directory=root, readonly=readonly),
        effective=settings,
    )


def _config_json(settings: Effective, ids: Mapping[str, int]) -> bytes:
    """The specification; raises one error with all ids that are not known. The YAML's own were looked at before."""
    faults: list[ConfigError] = []
    for key in ("uid", "gid", "additional_gids"):
        value = getattr(settings.settings, key)
        wanted = ", which its image's label wants" if Origin.LABEL in settings.origins[key] else ""
        for each in value if isinstance(value, tuple) else (value,):
            try:
                fields.user_id(each, ids)
            except ConfigError as error:
                faults.append(ConfigError(f"{error.what}{wanted}", fix=error.fix))
    if faults:
        raise ConfigError.gather(faults)
    return config_json(settings.settings, ids)


def _with_volumes(entry: ImageEntry, config: Config) -> ImageEntry:
    """``entry`` with the directories of volumes in place of their names. Binds of a label are left as they are."""

    def bind(text: str) -> str:
        bind = fields.Bind.parse(text)
        return text if bind.volume is None else str(replace(bind, source=_merged(bind.volume, config)))

    def mount(mount: Mount) -> Mount:
        if mount.type != "bind" or not mount.source or mount.source.startswith("/"):
            return mount
        return mount.model_copy(update={"source": _merged(mount.source, config)})

    rewritten: dict[str, object] = {}
    for key in ("binds", "binds_add"):
        if (texts := getattr(entry, key)) is not None:
            rewritten[key] = tuple(map(bind, texts))
    if entry.mounts is not None:
        rewritten["mounts"] = tuple(map(mount, entry.mounts))
    return entry.model_copy(update=rewritten)


def _merged(name: str, config: Config) -> str:
    if name not in {volume.name for volume in config.volumes or ()}:
        raise ConfigError(f"volume {name!r} is not declared", fix="declare it under volumes:")
    return f"/{VOLUMES}/{name}/merged"


def _warnings(config: Config, containers: Sequence[ContainerPlan], keys: bool) -> Iterator[str]:
    yield from checks.warnings(config, keys=keys)
    for container in containers:
        settings = container.effective.settings
        if settings.hostname and settings.uts in ("", "host", "root"):
            where = config.places.where((container.section, container.index))
            yield f"{where}: hostname {settings.hostname!r} needs uts: new, or the container does not start"
    if not config.init:
        yield from fileplan.closed_directories(config)
