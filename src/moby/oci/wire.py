"""JSON that somebody else wrote, read field by field into the types that we want.

No library: the documents of registries are few and simple, and loading one would take longer than most pulls wait.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from typing import Any, Self, TypeVar

from moby.errors import IntegrityError
from moby.oci.digest import Digest

_T = TypeVar("_T")
# Makes something of a value of JSON that is at a place. Raises ``Malformed``.
Read = Callable[[object, str], _T]


class Malformed(ValueError):
    """What is at ``place`` of a document does not belong there."""

    def __init__(self, place: str, what: str) -> None:
        super().__init__(f"{place.removeprefix('.')[:200] or 'document'}: {what[:200]}")


class Fields:
    """A JSON object; fields that nobody asks for are ignored."""

    def __init__(self, value: object, place: str = "") -> None:
        self._values: Mapping[str, object] = mapping(value, place)
        self._place = place

    def get(self, name: str, read: Read[_T], default: _T) -> _T:
        """The field, ``default`` when it is absent."""
        return read(self._values[name], f"{self._place}.{name}") if name in self._values else default

    def option(self, name: str, read: Read[_T]) -> _T | None:
        """The field, None when it is absent or null."""
        return read(self._values[name], f"{self._place}.{name}") if self._values.get(name) is not None else None

    def need(self, name: str, read: Read[_T]) -> _T:
        """The field, which must be there."""
        if name not in self._values:
            raise Malformed(f"{self._place}.{name}", "is missing")
        return read(self._values[name], f"{self._place}.{name}")


def loads(data: bytes) -> object:
    """The value that UTF-8 JSON stands for. Raises ``Malformed``."""
    try:
        return json.loads(data.decode())
    except (ValueError, RecursionError) as error:
        raise Malformed("", f"not JSON: {error}") from error


def mapping(value: object, place: str) -> Mapping[str, object]:
    """A JSON object."""
    if not isinstance(value, dict):
        raise Malformed(place, "should be an object")
    return value


def text(value: object, place: str) -> str:
    """A string that can be written as UTF-8."""
    if not isinstance(value, str):
        raise Malformed(place, "should be a string")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise Malformed(place, "has half of a character") from error
    return value


def texts(value: object, place: str) -> dict[str, str]:
    """An object of strings."""
    return {text(key, place): text(each, f"{place}.{key}") for key, each in mapping(value, place).items()}


def number(value: object, place: str) -> int:
    """A whole number."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise Malformed(place, "should be a whole number")
    return value


def size(value: object, place: str) -> int:
    """A number of bytes, as files have it: 63 bits."""
    count = number(value, place)
    if not 0 <= count < 1 << 63:
        raise Malformed(place, "should be a number of bytes")
    return count


def digest(value: object, place: str) -> Digest:
    """A digest of an algorithm that we know."""
    try:
        return Digest.parse(text(value, place))
    except IntegrityError as error:
        raise Malformed(place, error.what) from error


def tuple_of(read: Read[_T], *, most: int | None = None) -> Read[tuple[_T, ...]]:
    """Reads a list of at most ``most``; null is an empty one, as Go programs write it."""

    def read_all(value: object, place: str) -> tuple[_T, ...]:
        values = [] if value is None else value
        if not isinstance(values, list):
            raise Malformed(place, "should be a list")
        if most is not None and len(values) > most:
            raise Malformed(place, f"should have at most {most} entries, not {len(values)}")
        return tuple([read(each, f"{place}.{index}") for index, each in enumerate(values)])

    return read_all


class Wire:
    """A frozen dataclass whose fields have the specification's names in JSON, in camel case."""

    __slots__ = ()

    def changed(self, **values: Any) -> Self:
        """A copy with other values in some fields."""
        return replace(self, **values)  # type: ignore[type-var]  # each subclass is a dataclass

    def wire(self) -> dict[str, object]:
        """The JSON object, for embedding in another."""
        named = ((each.name, getattr(self, each.name)) for each in fields(self))  # type: ignore[arg-type]  # as above
        return {_camel(name): _plain(value) for name, value in named if value is not None}

    def encode(self) -> bytes:
        """Compact JSON with the specification's names and without absent fields."""
        return json.dumps(self.wire(), separators=(",", ":")).encode()


def _camel(name: str) -> str:
    return re.sub("_(.)", lambda found: found[1].upper(), name)


def _plain(value: object) -> object:
    if isinstance(value, Wire):
        return value.wire()
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, Digest) else value
