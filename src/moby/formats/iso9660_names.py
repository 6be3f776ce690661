r"""File identifiers: what a name becomes where only few characters are allowed.

ISO 9660 level 3 (ECMA-119 7.5, 10.3): capital letters, digits and ``_``; files have a dot and a version, up to 30
characters without both; directories up to 31. Joliet: UCS-2 without control characters and ``*/:;?\``, up to 103
characters, which is what a directory record has room for and common readers take; the specification says 64.
Readers that know Rock Ridge see none of these.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

_OTHER = re.compile(r"[^A-Z0-9_]")
_NOT_JOLIET = re.compile(r"[\x00-\x1f*/:;?\\\ud800-\udfff\U00010000-\U0010ffff]")
_FILE, _DIRECTORY, _EXTENSION, _JOLIET = 30, 31, 8, 103
_VERSION = ";1"

Shape = Callable[[str, bool, str], bytes]


def primary(name: str, directory: bool, mark: str = "") -> bytes:
    """The ISO 9660 identifier of ``name``; ``mark`` goes to the end of its stem to tell it from others."""
    if directory:
        return (_OTHER.sub("_", name.upper())[: _DIRECTORY - len(mark)] + mark).encode()
    stem, _, extension = name.upper().rpartition(".") if "." in name[1:] else (name.upper(), "", "")
    stem, extension = _OTHER.sub("_", stem), _OTHER.sub("_", extension)
    if len(stem) + len(extension) + len(mark) > _FILE:
        extension = extension[:_EXTENSION]
    return f"{stem[: _FILE - len(extension) - len(mark)]}{mark}.{extension}{_VERSION}".encode()


def joliet(name: str, directory: bool, mark: str = "") -> bytes:
    """The Joliet identifier of ``name``."""
    text = _NOT_JOLIET.sub("_", name)
    if not mark and len(text) <= _JOLIET:
        return text.encode("utf-16-be", "replace")
    stem, dot, extension = text.rpartition(".") if not directory and "." in text[1:] else (text, "", "")
    tail = mark + dot + extension[:_EXTENSION]
    return (stem[: _JOLIET - len(tail)] + tail).encode("utf-16-be", "replace")


def assign(names: Iterable[tuple[str, bool]], shape: Shape) -> dict[str, bytes]:
    """An identifier for each name of one directory (with whether it is a directory itself), all different.

    Names whose identifier is another's are numbered. The result depends on the set of names alone.
    """
    found: dict[str, bytes] = {}
    taken: set[bytes] = set()
    late = []
    for name, directory in sorted(names):
        identifier = shape(name, directory, "")
        bare = _bare(identifier)
        if bare in taken:
            late.append((name, directory))
        else:
            taken.add(bare)
            found[name] = identifier
    numbers: dict[bytes, int] = {}
    for name, directory in late:
        found[name] = _numbered(name, directory, shape, numbers, taken)
    return found


def _bare(identifier: bytes) -> bytes:
    """What readers show: without version and a dot at the end, so that a file and a directory do not look the same."""
    return identifier.removesuffix(_VERSION.encode()).removesuffix(b".")


def _numbered(name: str, directory: bool, shape: Shape, numbers: dict[bytes, int], taken: set[bytes]) -> bytes:
    """The next free number for ``name``; ``numbers`` are the last ones by what they are put behind."""
    digits = 3
    while True:
        family = shape(name, directory, "0" * digits)
        number = numbers.get(family, 0) + 1
        if number >= 10**digits:
            digits += 1
            continue
        numbers[family] = number
        identifier = shape(name, directory, f"{number:0{digits}}")
        if _bare(identifier) not in taken:
            taken.add(_bare(identifier))
            return identifier
