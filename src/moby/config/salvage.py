"""What can be used of a document that has faults, so that the images it names are looked at in the same pass.

The smallest thing around a fault is taken out: a key of an entry, else the entry, which leaves a stand-in so that the
numbers of the others stay. The result is for finding more faults and must not be built.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import ValidationError

from moby.config.model import Config
from moby.config.places import NAMED, Path

# An image that is not looked for: it takes the place of a name that is not one.
UNKNOWN = "unknown.invalid/image"
_NAME = "unnamed"
_ROUNDS = 3
_FILES = "files"
# Keys that say what a file is.
_KINDS = {"directory", "symlink", "contents", "source", "metadata", "optional"}


def salvage(data: object, paths: Iterable[Path]) -> Config:
    """The configuration in ``data`` without what is at ``paths``, those of its faults."""
    if not isinstance(data, dict):
        return Config.model_validate({})
    left = {key: list(value) if isinstance(value, tuple) else value for key, value in data.items()}
    names = {
        (section, index): item["name"]
        for section, items in left.items()
        for index, item in enumerate(items if isinstance(items, list) else ())
        if isinstance(item, dict) and isinstance(item.get("name"), str)
    }
    for path in paths:
        _remove(left, path)
    for count in range(_ROUNDS):
        frozen = {key: tuple(value) if isinstance(value, list) else value for key, value in left.items()}
        try:
            return _renamed(Config.model_validate(frozen), names)
        except ValidationError as error:
            for each in error.errors(include_url=False, include_input=False):
                _remove(left, each["loc"][:2] if len(each["loc"]) > 1 else each["loc"], whole=count > 0)
    return Config.model_validate({})


def _remove(data: dict[str, object], path: Path, *, whole: bool = False) -> None:
    """Take the thing at or around ``path`` out of ``data``; of an entry, as little as may do, unless ``whole``."""
    section = path[0] if path else None
    if not isinstance(section, str) or section not in data:
        return
    items = data[section]
    if isinstance(items, list) and len(path) > 1 and isinstance(path[1], int):
        if path[1] < len(items):
            item = items[path[1]]
            if section == _FILES and len(path) == 2 and not whole and isinstance(item, dict):
                items[path[1]] = {key: item[key] for key in item.keys() - _KINDS} | {"contents": ""}
            else:
                items[path[1]] = _mended(section, item, path[2] if len(path) > 2 else None)
    elif section == "kernel" and isinstance(items, dict) and len(path) > 1:
        data[section] = {key: value for key, value in items.items() if key != path[1]}
    else:
        del data[section]


def _mended(section: str, item: object, key: str | int | None) -> object:
    """``item`` without ``key``, or what is left of it when all of it is wrong."""
    if section == "init":
        return UNKNOWN
    stand_in: dict[str, object] = {"path": _NAME, "contents": ""} if section == _FILES else {"name": _NAME}
    if section in NAMED and section not in (_FILES, "volumes"):
        stand_in["image"] = UNKNOWN
    if not isinstance(item, dict) or (key is None and section == _FILES):
        return stand_in
    if key is None:
        return {**stand_in, **{each: value for each, value in item.items() if each in ("name", "image")}}
    kept = {each: value for each, value in item.items() if each != key}
    if key == "optional":
        return kept | {key: True}  # so that nothing is said of a source that may be missing
    return kept | {each: value for each, value in stand_in.items() if each == key and each != "contents"}


def _renamed(config: Config, names: dict[tuple[str, int], str]) -> Config:
    """``config`` with the names as written, wrong or not: others refer to them."""
    changed = {}
    for section in ("onboot", "onshutdown", "services", "volumes"):
        if items := getattr(config, section):
            changed[section] = tuple(
                each.model_copy(update={"name": names.get((section, index), each.name)})
                for index, each in enumerate(items)
            )
    return config.model_copy(update=changed)
