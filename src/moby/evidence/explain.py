"""Why an image is as it is: where a path comes from, and where each setting of a container comes from."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from moby.config.container import ImageLabel, Runtime
from moby.config.decode import keys
from moby.config.model import Config
from moby.config.places import Path
from moby.config.spec import Spec
from moby.effective import Origin
from moby.errors import ConfigError
from moby.evidence.trace import Version, trace
from moby.formats.entry import Entry, Kind
from moby.oci.image import Image
from moby.oci.store import Store
from moby.plan import ContainerPlan, Plan
from moby.rootfs import build
from moby.rootfs.bundle import ancestors
from moby.rootfs.kernel import CMDLINE, KERNEL, UCODE

_ORIGIN = re.compile(r"(\w+)(?:\[(\d+)\])?")
# Files that are made anew in place of an image's own.
_REPLACED = ("etc/hosts", "etc/resolv.conf")
_MAX_LINKS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Layered:
    """The image a file is from, the name it has there, and the layer; ``archive`` is a tar in it that holds it."""

    image: Image
    path: str
    versions: tuple[Version, ...]
    archive: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """One path of the root. ``hidden`` are entries of earlier parts that it replaced, with the place of each part.

    ``source`` is None for what is made by the build. ``below`` counts entries and bytes in a directory.
    """

    entry: Entry
    part: str
    where: str
    source: Layered | None
    hidden: tuple[tuple[Entry, str], ...]
    below: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A value in force; ``origins`` say where it comes from, several where lists were joined."""

    key: str
    value: object
    origins: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerFacts:
    """A container's settings, in the order of the language's reference."""

    container: ContainerPlan
    where: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the root: its place, where it goes (without a leading slash), and its image."""

    name: str
    where: str
    directory: str
    image: Image | None


@dataclass(slots=True)
class _Seen:
    """What passed by of one path, and the symbolic links of the root."""

    entries: list[Entry] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    near: list[str] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0


def parts(config: Config, plan: Plan) -> tuple[Part, ...]:
    """Everything that the root is made of, in the order in which it is laid over each other."""
    found: list[tuple[Path, str, Image | None]] = []
    if plan.kernel is not None:
        found.append((("kernel",), "boot", plan.kernel.image))
    found += [(("init", index), "", each.image) for index, each in enumerate(plan.init)]
    found += [
        (("volumes", index), each.directory, next(iter(each.images), None)) for index, each in enumerate(plan.volumes)
    ]
    found += [((each.section, each.index), each.directory, each.image) for each in plan.containers]
    found += [(("files", each.index), each.path, None) for each in plan.files]
    return tuple(
        Part(name=config.places.describe(place), where=config.places.where(place), directory=directory, image=image)
        for place, directory, image in found
    )


def containers(config: Config, plan: Plan, name: str) -> tuple[ContainerFacts, ...]:
    """The containers called ``name``; none when there is none."""
    return tuple(_container(config, each) for each in plan.containers if each.name == name)


def path(config: Config, plan: Plan, store: Store, text: str) -> PathFacts:
    """What is at ``text``, a path of the root or ``CONTAINER:PATH``; symbolic links on the way to it are followed.

    Raises ``ConfigError`` with near names when nothing is there.
    """
    wanted = _wanted(plan, text)
    for _ in range(_MAX_LINKS):
        seen = _look(plan, store, wanted)
        if seen.entries:
            return _facts(config, plan, store, seen)
        followed = _follow(wanted, seen.links)
        if followed is None:
            break
        wanted = followed
    near = ", ".join(seen.near) or ", ".join(difflib.get_close_matches(text, _names(plan), n=3))
    fix = f"did you mean {near}?" if near else "paths start at the root; a container's begin with its name and ':'"
    raise ConfigError(f"there is no {text!r} in the image, nor a container of that name", fix=fix)


def _names(plan: Plan) -> list[str]:
    return [each.name for each in plan.containers]


def _wanted(plan: Plan, text: str) -> str:
    name, colon, rest = text.partition(":")
    roots = {each.name: each.root_directory for each in plan.containers}
    whole = f"{roots[name]}/{rest}" if colon and name in roots else text
    return "/".join(part for part in whole.split("/") if part not in ("", "."))


def _look(plan: Plan, store: Store, wanted: str) -> _Seen:
    seen = _Seen()
    base = wanted.rpartition("/")[2]
    for entry in build.entries(plan, store):
        if entry.path == wanted:
            seen.entries.append(entry)
        elif entry.path.startswith(f"{wanted}/"):
            seen.count += 1
            seen.size_bytes += entry.size
        inside = entry.path.startswith("containers/") and not wanted.startswith(f"{entry.path}/")
        if entry.kind is Kind.SYMLINK and not inside:
            seen.links[entry.path] = entry.target
        elif len(seen.near) < 5 and entry.path.endswith(f"/{base}"):
            seen.near.append(entry.path)
    return seen


def _follow(wanted: str, links: Mapping[str, str]) -> str | None:
    """``wanted`` with its first symbolic link replaced by where it leads."""
    link = next((each for each in ancestors(wanted)[:-1] if each in links), None)
    if link is None:
        return None
    above = [] if links[link].startswith("/") else link.split("/")[:-1]
    for part in (*links[link].split("/"), *wanted[len(link) :].split("/")):
        if part == "..":
            above = above[:-1]
        elif part not in ("", "."):
            above.append(part)
    return "/".join(above)


def _resolved(path: str, links: Mapping[str, str]) -> str:
    for _ in range(_MAX_LINKS):
        followed = _follow(path, links)
        if followed is None:
            break
        path = followed
    return path


def _facts(config: Config, plan: Plan, store: Store, seen: _Seen) -> PathFacts:
    entry = seen.entries[-1]
    place = _place(entry)
    others = [each for each in seen.entries[:-1] if each.kind is not Kind.DIRECTORY or _owned(each) != _owned(entry)]
    return PathFacts(
        entry=entry,
        part=config.places.describe(place),
        where=_where(config, place),
        source=_source(plan, store, entry, seen.links),
        hidden=tuple((each, _where(config, _place(each))) for each in others),
        below=(seen.count, seen.size_bytes),
    )


def _place(entry: Entry) -> Path:
    """The place in the YAML that an entry is there for."""
    if entry.path == CMDLINE and entry.origin == "kernel":
        return ("kernel", "cmdline")
    found = _ORIGIN.match(entry.origin)
    assert found is not None, f"{entry.path} has no origin"
    return (found[1], int(found[2])) if found[2] else (found[1],)


def _where(config: Config, place: Path) -> str:
    return config.places.where(place)


def _owned(entry: Entry) -> tuple[Kind, int, int, int]:
    return (entry.kind, entry.mode, entry.uid, entry.gid)


def _source(plan: Plan, store: Store, entry: Entry, links: Mapping[str, str]) -> Layered | None:
    """The image that an entry was taken from; ``links`` may have led it away from its name there."""
    section, *index = _place(entry)
    if section == "kernel" and plan.kernel is not None:
        names = {KERNEL: plan.kernel.binary, UCODE: plan.kernel.ucode or "", CMDLINE: ""}
        name = names.get(entry.path, plan.kernel.tar or "")
        found = _layered(store, plan.kernel.image, name) if name else None
        return found if found is None or entry.path in names else replace(found, path=entry.path, archive=name)
    if section == "init" and index:
        return _layered(store, plan.init[int(index[0])].image, entry.path, links)
    if section == "volumes":
        volume = plan.volumes[int(index[0])]
        root, images = f"{volume.directory}/lower/", volume.images if volume.format == "filesystem" else ()
    else:
        own = [each for each in plan.containers if (each.section, each.index) == (section, *index) and each.unpack]
        root, images = (f"{own[0].root_directory}/", (own[0].image,)) if own else ("", ())
    if not images or not entry.path.startswith(root):
        return None
    return _layered(store, images[0], entry.path.removeprefix(root))


def _layered(store: Store, image: Image, path: str, links: Mapping[str, str] | None = None) -> Layered | None:
    def matches(other: str) -> bool:
        if other == path or not links:
            return other == path
        return other.rpartition("/")[2] == path.rpartition("/")[2] and _resolved(other, links) == path

    versions = () if path in _REPLACED else trace(store, image, matches)
    kept = next((each for each in versions if each.kept), None)
    return Layered(image=image, path=kept.path, versions=versions) if kept else None


def _container(config: Config, container: ContainerPlan) -> ContainerFacts:
    own: Path = (container.section, container.index)
    effective = container.effective
    return ContainerFacts(
        container=container,
        where=config.places.where(own),
        settings=(
            *_settings(config, container, effective.settings, ImageLabel, own),
            *_settings(config, container, effective.runtime, Runtime, (*own, "runtime")),
        ),
    )


def _settings(
    config: Config, container: ContainerPlan, holder: Spec, shape: type[Spec], place: Path
) -> Iterator[Setting]:
    prefix = "runtime." if shape is Runtime else ""
    for name, key in zip(shape.model_fields, keys(shape), strict=True):
        origins = container.effective.origins.get(prefix + name)
        if origins is not None:
            value = _plain(getattr(holder, name))
            told = tuple(_origin(each, config, container, (*place, key)) for each in origins)
            yield Setting(key=prefix + key, value=value, origins=told)


def _origin(origin: Origin, config: Config, container: ContainerPlan, place: Path) -> str:
    image = container.image.reference
    if origin is Origin.YAML:
        added: Path = (*place[:-1], f"{place[-1]}.add")
        known = config.places.keys
        own = place if place in known or added not in known else added
        return str(config.places.mark(own, at_key=True))
    return {
        Origin.LABEL: f"label of {image}",
        Origin.IMAGE: f"configuration of {image}",
        Origin.DEFAULT: "default",
    }[origin]


def _plain(value: object) -> object:
    """A value of a model as JSON can say it, without what is not given."""
    if isinstance(value, Spec):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    return [_plain(each) for each in value] if isinstance(value, tuple) else value
