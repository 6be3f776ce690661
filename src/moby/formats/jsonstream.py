"""Members of a large JSON object one by one: memory holds the text and one element, not the whole as objects."""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterator, Sequence

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


def members(text: str, inside: Sequence[str] = ()) -> Iterator[tuple[str, object]]:
    """The members of the object that the keys ``inside`` lead to; of a list its elements, each under the list's key.

    Raises ``ValueError`` for anything but JSON objects on the way; what follows the object is not looked at.
    """
    try:
        yield from _object(text, _after(text, 0), inside)
    except RecursionError as error:
        raise ValueError("nested too deep") from error


def _object(text: str, at: int, inside: Sequence[str]) -> Generator[tuple[str, object], None, int]:
    at = _expect(text, at, "{")
    while text[at : at + 1] != "}":
        key, at = _DECODER.raw_decode(text, at)
        if not isinstance(key, str):
            raise ValueError(f"a key is missing at {at}")
        at = _expect(text, _after(text, at), ":")
        if inside and key == inside[0]:
            at = yield from _object(text, at, inside[1:])
        elif not inside and text[at : at + 1] == "[":
            at = yield from _list(text, at, key)
        else:
            value, at = _DECODER.raw_decode(text, at)
            if not inside:
                yield key, value
        at = _next(text, at, "}")
    return at + 1


def _list(text: str, at: int, key: str) -> Generator[tuple[str, object], None, int]:
    at = _expect(text, at, "[")
    while text[at : at + 1] != "]":
        value, at = _DECODER.raw_decode(text, at)
        yield key, value
        at = _next(text, at, "]")
    return at + 1


def _next(text: str, at: int, end: str) -> int:
    """The place after a comma, or of ``end``."""
    at = _after(text, at)
    if text[at : at + 1] == end:
        return at
    return _expect(text, at, ",")


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise ValueError(f"{sign!r} is missing at {at}")
    return _after(text, at + 1)


def _after(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    assert found is not None
    return found.end()
