"""``Config`` + ``Resolver`` → ``Plan``: every image pinned, every OCI specification computed, nothing written.

What can only be known from the images (their labels) is checked here for all of them before anything is raised.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol

from moby import metadata
from moby.config import decode, fields
from moby.config.container import ImageEntry, ImageLabel, Mount
from moby.config.model import Config, FileSpec, KernelSpec, VolumeSpec
from moby.config.places import Path as Place
from moby.config.places import Places
from moby.effective import Effective, effective
from moby.errors import ConfigError, MobyError
from moby.formats.entry import Kind
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.runtime import config_json, runtime_json

FIRST_ID = 100
DEFAULT_BINARY = "kernel"
DEFAULT_TAR = "kernel.tar"
VOLUMES = "containers/volumes"
_FILE_MODE = 0o600
_DIRECTORY_MODE = 0o700
# Directories of the root that everybody must be able to enter.
_PUBLIC = frozenset(("bin", "dev", "etc", "home", "lib", "proc", "run", "sbin", "sys", "tmp", "usr", "var"))

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
class FilePlan:
    """An entry of ``files``. ``path`` is clean and relative, ``data`` the content or the file of this host to copy."""

    index: int
    path: str
    kind: Kind
    mode: int
    uid: int
    gid: int
    data: bytes | Path = b""
    target: str = ""


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
    look: Callable[[Path], os.stat_result] = Path.stat,
) -> Plan:
    """Decide everything for ``config`` on ``linux/architecture``.

    ``home`` is what ``~/`` in ``source:`` means and ``look`` asks about a source; both default to the host's. Raises
    ``ConfigError`` with all faults of labels and sources, or what the resolver raises, with the image's place.
    """
    target = Platform(os="linux", architecture=architecture)
    pins = _resolve(config, resolver, target)
    faults: list[ConfigError] = []
    containers = tuple(_containers(config, pins, target, faults))
    files = tuple(_files(config, home or Path.home(), look, faults))
    if faults:
        raise ConfigError.gather(faults)
    return Plan(
        architecture=architecture,
        kernel=_kernel(config.kernel, pins, target),
        init=tuple(InitPlan(image=pins[Reference.parse(text), target]) for text in config.init or ()),
        volumes=tuple(_volume(each, pins, target) for each in config.volumes or ()),
        containers=containers,
        files=files,
        metadata=metadata.metadata_yaml(config),
        warnings=(*config.notices, *_warnings(config)),
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


def _resolve(config: Config, resolver: Resolver, target: Platform) -> _Pins:
    pins: dict[tuple[Reference, Platform], Image] = {}
    for place, reference, platform in images(config, target):
        if (reference, platform) in pins:
            continue
        try:
            pins[reference, platform] = resolver.resolve(reference, platform)
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


def _containers(config: Config, pins: _Pins, target: Platform, faults: list[ConfigError]) -> Iterator[ContainerPlan]:
    ids = container_ids(config)
    labels: dict[Reference, ImageLabel | None] = {}
    roots: dict[Reference, str] = {}
    for section, index, entry in _entries(config):
        reference = Reference.parse(entry.image)
        image = pins[reference, target]
        try:
            if reference not in labels:
                labels[reference] = None  # a faulty label is reported once
                labels[reference] = decode.label(
                    (image.config.labels or {}).get(decode.LABEL, ""), image=str(reference)
                )
            settings = effective(_with_volumes(entry, config), labels[reference], image.config)
            spec = config_json(settings.settings, ids)
        except ConfigError as error:
            faults.append(_placed(error, config.places, (section, index)))
            continue
        directory = f"containers/{section}/{entry.name if section == 'services' else f'{index:03}-{entry.name}'}"
        readonly = bool(settings.settings.readonly)
        first = reference not in roots
        root = roots.setdefault(reference, f"{directory}/{'rootfs' if readonly else 'lower'}")
        yield ContainerPlan(
            section=section,
            index=index,
            name=entry.name,
            image=image,
            directory=directory,
            root_directory=root,
            readonly=readonly,
            unpack=first,
            config_json=spec,
            runtime_json=runtime_json(settings.runtime, directory=directory, root_directory=root, readonly=readonly),
            effective=settings,
        )


def _placed(error: ConfigError, places: Places, place: Place) -> ConfigError:
    if error.where:
        return error
    return ConfigError(error.what, where=places.where(place), fix=error.fix, others=error.others)


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


def _files(
    config: Config, home: Path, look: Callable[[Path], os.stat_result], faults: list[ConfigError]
) -> Iterator[FilePlan]:
    ids = container_ids(config)
    for index, file in enumerate(config.files or ()):
        kind = Kind.DIRECTORY if file.directory else Kind.SYMLINK if file.symlink else Kind.FILE
        default = _DIRECTORY_MODE if kind is Kind.DIRECTORY else _FILE_MODE
        try:
            data = _data(file, config, home, look) if kind is Kind.FILE else b""
            if data is None:
                continue
            yield FilePlan(
                index=index,
                path=fields.file_path(file.path),
                kind=kind,
                mode=fields.octal(file.mode) if file.mode else default,
                uid=fields.user_id(file.uid, ids),
                gid=fields.user_id(file.gid, ids),
                data=data,
                target=file.symlink if kind is Kind.SYMLINK else "",
            )
        except ConfigError as error:
            faults.append(_placed(error, config.places, ("files", index)))


def _data(file: FileSpec, config: Config, home: Path, look: Callable[[Path], os.stat_result]) -> bytes | Path | None:
    """The content of a regular file; None when it is optional and its source is missing."""
    if file.contents is not None:
        return file.contents.encode()
    if file.metadata:
        return metadata.metadata_yaml(config) if file.metadata == "yaml" else metadata.metadata_json(config)
    path = home / file.source[2:] if file.source.startswith("~/") else Path(file.source)
    try:
        status = look(path)
    except OSError as error:
        if file.optional:
            return None
        fix = "paths start from the current directory; optional: true leaves a missing file out"
        raise ConfigError(f"cannot read source {str(path)!r}: {error.strerror}", fix=fix) from error
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"source {str(path)!r} is not a regular file")
    return path


def _warnings(config: Config) -> Iterator[str]:
    if config.trust is not None and not config.trust.keys:
        yield f"{config.places.where(('trust',))}: trust names no keys, so no signature is checked"
    for section, index, entry in _entries(config):
        for key in ("net", "pid", "ipc", "uts", "userns"):
            value = getattr(entry, key)
            if value not in ("", "host", "root", "new", "none") and not value.startswith("/"):
                yield f"{config.places.where((section, index, key))}: {value!r} is taken for the path of a namespace"
    if not config.init:
        yield from _closed_directories(config)


def _closed_directories(config: Config) -> Iterator[str]:
    """Public directories that come to be only as the parents of a private file, and so are closed to others.

    With init images the directories are theirs and keep their mode.
    """
    seen: set[str] = set()
    for index, file in enumerate(config.files or ()):
        path = fields.file_path(file.path)
        top, slash, _ = path.partition("/")
        mode = fields.octal(file.mode) if file.mode else _DIRECTORY_MODE if file.directory else _FILE_MODE
        if slash and top in _PUBLIC and top not in seen and mode & 0o007 == 0:
            where = config.places.where(("files", index))
            yield f"{where}: the mode of this file closes /{top} to everybody but root; list {top} as a directory first"
        seen.add(top)
