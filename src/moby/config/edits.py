"""Small changes to YAML values, as data: what ``legacy`` decides, for plain values here and for text in ``migrate``.

Every change names the mapping or list it is made in by the path that it has in the original document.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from moby.config.places import Path
from moby.config.source import Document

_Fact = TypeVar("_Fact")

# What a change may put in: YAML values in their plain Python form.
Value = bool | int | str | list["Value"] | dict[str, "Value"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rename:
    """The key ``old`` of the mapping at ``path`` is called ``new``."""

    path: Path
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Put:
    """``key`` of the mapping at ``path`` is ``value``, which replaces what was there. Keys are those after renaming."""

    path: Path
    key: str
    value: Value


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """The mapping at ``path`` loses ``key``."""

    path: Path
    key: str


Change = Rename | Put | Drop


def apply(document: Document, changes: Iterable[Change]) -> Document:
    """``document`` with all ``changes``; messages about it keep the lines, columns and keys of the original.

    Its faults are moved along.
    """
    changes = tuple(changes)
    by_path: dict[Path, list[Change]] = {}
    for change in changes:
        by_path.setdefault(change.path, []).append(change)
    renames = {(*each.path, each.old): each.new for each in changes if isinstance(each, Rename)}
    data = _changed(document.data, (), by_path)
    places = document.places
    spelled = {new: old for old in places.values if (new := _moved(old, renames)) != old}
    return replace(
        document,
        data=data,
        faults=tuple(replace(each, path=_moved(each.path, renames)) for each in document.faults),
        places=replace(
            places,
            values=_moved_keys(places.values, renames),
            keys=_moved_keys(places.keys, renames),
            written=_moved_keys(places.written, renames),
            spelled=spelled,
        ),
    )


def _changed(value: object, path: Path, by_path: Mapping[Path, list[Change]]) -> object:
    if isinstance(value, tuple):
        return tuple(_changed(each, (*path, index), by_path) for index, each in enumerate(value))
    if not isinstance(value, dict):
        return value
    new = {key: _changed(each, (*path, key), by_path) for key, each in value.items()}
    for change in by_path.get(path, ()):
        if isinstance(change, Rename):
            new = {change.new if key == change.old else key: each for key, each in new.items()}
        elif isinstance(change, Put):
            new[change.key] = _frozen(change.value)
        else:
            new.pop(change.key, None)
    return new


def _frozen(value: Value) -> object:
    if isinstance(value, list):
        return tuple(map(_frozen, value))
    return {key: _frozen(each) for key, each in value.items()} if isinstance(value, dict) else value


def _moved(path: Path, renames: Mapping[Path, str]) -> Path:
    """Where a path of the original is after ``renames``."""
    if not renames:
        return path
    return tuple(renames.get(path[: depth + 1], part) for depth, part in enumerate(path))


def _moved_keys(values: Mapping[Path, _Fact], renames: Mapping[Path, str]) -> dict[Path, _Fact]:
    return {_moved(path, renames): value for path, value in values.items()}
