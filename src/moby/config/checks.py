"""What can only be seen across entries and files: names that clash, ids and volumes that do not exist.

The checks work on parts that may have other faults, so that everything is reported in one pass: names are taken from
the plain values, and of entries with a fault of their own what is left of them is looked into.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from moby.config import fields
from moby.config.container import ImageEntry, Mount
from moby.config.model import Config, several_kinds
from moby.config.places import Fault, Mark, Path, Places
from moby.config.suggest import did_you_mean
from moby.errors import ConfigError

CONTAINERS = ("onboot", "onshutdown", "services")


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One file's plain values, their places, and the configuration they make, or what is left of it."""

    data: object
    places: Places
    config: Config

    def items(self, section: str) -> Iterator[tuple[Path, Mapping[str, object]]]:
        """The mappings of a section that is a list, with their paths."""
        values = self.data.get(section) if isinstance(self.data, dict) else None
        for index, item in enumerate(values if isinstance(values, tuple) else ()):
            if isinstance(item, dict):
                yield (section, index), item

    def containers(self) -> Iterator[tuple[Path, ImageEntry]]:
        """The entries of all sections of containers."""
        for section in CONTAINERS:
            for index, entry in enumerate(getattr(self.config, section) or ()):
                yield (section, index), entry


def check(parts: Sequence[Part], *, complete: bool = True) -> list[list[Fault]]:
    """The faults of each part, seen together with all others.

    Unless they are ``complete``, what is not found may be in a part that is missing, and is no fault.
    """
    faults: list[list[Fault]] = [[] for _ in parts]
    for section, noun in (("services", "service"), ("volumes", "volume")):
        for found, each in zip(faults, _repeated(parts, section, noun), strict=True):
            found.extend(each)
    for part, found in zip(parts, faults, strict=True):
        found.extend(_kinds(part))
    if not complete:
        return faults
    names = dict.fromkeys(_names(parts, CONTAINERS), 0)
    volumes = {str(item["name"]): item.get("readonly") is True for item in _items(parts, "volumes") if "name" in item}
    for part, found in zip(parts, faults, strict=True):
        for path, entry in part.containers():
            found.extend(_ids(path, entry, names))
            found.extend(_volumes(path, entry, volumes))
        for index, file in enumerate(part.config.files or ()):
            found.extend(_unknown_ids(("files", index), {("uid",): file.uid, ("gid",): file.gid}, names))
    return faults


def warnings(config: Config, *, keys: bool = False) -> Iterator[str]:
    """What is right and yet hardly meant; ``keys`` is whether public keys are given beside those of ``config``."""
    if config.trust is not None and not config.trust.keys and not keys:
        yield f"{config.places.where(('trust',))}: trust names no keys, so no signature is checked"
    for section in CONTAINERS:
        for index, entry in enumerate(getattr(config, section) or ()):
            for key in ("net", "pid", "ipc", "uts", "userns"):
                value = getattr(entry, key)
                if value not in ("", "host", "root", "new", "none") and not value.startswith("/"):
                    where = config.places.where((section, index, key))
                    yield f"{where}: {value!r} is taken for the path of a namespace"


def _kinds(part: Part) -> Iterator[Fault]:
    """Files with several contents; the model says so only of files that have no other fault."""
    for path, item in part.items("files"):
        given = ["directory: true"] if item.get("directory") is True else []
        given += [key for key in ("symlink", "contents", "source", "metadata") if isinstance(item.get(key), str)]
        given = [key for key in given if key == "contents" or item.get(key) != ""]
        if fault := several_kinds(given):
            yield Fault(path=path, what=fault.what, fix=fault.fix)


def _items(parts: Iterable[Part], section: str) -> Iterator[Mapping[str, object]]:
    return (item for part in parts for _, item in part.items(section))


def _names(parts: Sequence[Part], sections: Iterable[str]) -> Iterator[str]:
    for section in sections:
        yield from (name for item in _items(parts, section) if isinstance(name := item.get("name"), str))


def _repeated(parts: Sequence[Part], section: str, noun: str) -> Iterator[list[Fault]]:
    first: dict[str, Mark] = {}
    for part in parts:
        found: list[Fault] = []
        for path, item in part.items(section):
            name, place = item.get("name"), (*path, "name")
            if not isinstance(name, str):
                continue
            if name in first:
                what = f"duplicate {noun} name {name!r}, first in {first[name]}"
                found.append(Fault(path=place, what=what, fix="rename one of them"))
            first.setdefault(name, part.places.mark(place))
        yield found


def _ids(path: Path, entry: ImageEntry, names: Mapping[str, int]) -> Iterator[Fault]:
    further: dict[Path, int | str | None] = {
        ("additionalGids", index): each for index, each in enumerate(entry.additional_gids or ())
    }
    return _unknown_ids(path, {("uid",): entry.uid, ("gid",): entry.gid, **further}, names)


def _unknown_ids(path: Path, given: Mapping[Path, int | str | None], names: Mapping[str, int]) -> Iterator[Fault]:
    for place, value in given.items():
        try:
            fields.user_id(value, names)
        except ConfigError as error:
            yield Fault(path=(*path, *place), what=error.what, fix=error.fix)


def _volumes(path: Path, entry: ImageEntry, volumes: Mapping[str, bool]) -> Iterator[Fault]:
    for key, texts in (("binds", entry.binds), ("binds.add", entry.binds_add)):
        for index, text in enumerate(texts or ()):
            bind = fields.Bind.parse(text)
            if bind.volume is not None:
                yield from _volume((*path, key, index), bind.volume, volumes, readonly=bind.options == ("ro",))
    for index, mount in enumerate(entry.mounts or ()):
        if mount.type == "bind" and mount.source and not mount.source.startswith("/"):
            yield from _volume((*path, "mounts", index), mount.source, volumes, readonly=_is_readonly(mount))


def _volume(path: Path, name: str, volumes: Mapping[str, bool], *, readonly: bool) -> Iterator[Fault]:
    if name not in volumes and (name.startswith((".", "~")) or "/" in name):
        fix = "paths are those of the machine and begin with /; files: source brings in a file of this host"
        yield Fault(path=path, what=f"{name!r} is neither a volume nor an absolute path", fix=fix)
    elif name not in volumes:
        fix = did_you_mean(name, volumes, otherwise="declare it under volumes:, or write an absolute path")
        yield Fault(path=path, what=f"volume {name!r} is not declared", fix=fix)
    elif volumes[name] and not readonly:
        what = f"volume {name!r} is read-only, and this would mount it read-write"
        yield Fault(path=path, what=what, fix="end the bind with :ro, or give the mount the option ro")


def _is_readonly(mount: Mount) -> bool:
    options = mount.options or ()
    return "ro" in options and "rw" not in options[: options.index("ro")]
