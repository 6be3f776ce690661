"""Names in a FAT directory: the 8.3 name that every entry has, and the long name in entries before it.

A name that is upper case and fits 8.3 needs no long one. Any other is kept as a long name, and its 8.3 name is made
from it, with a numeric tail unless it is only the case that differs. Names are told apart without regard to case.

Source: Microsoft FAT specification of 2005-08-30 ("fatgen"), 6.1 "Structure", 7 "Long File Name Implementation"
(7.2 ordinal and checksum, 7.4 character sets) and 8 "Long name basis-name generation algorithm".
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from moby.errors import ConfigError

ENTRY_BYTES = 32
LONG_ATTRIBUTE = 0x0F
LAST_LONG = 0x40
LONG_UNITS = 13  # UTF-16 code units in one long-name entry
_MAX_UNITS = 255
_BAD_LONG = frozenset('"*/:<>?\\|').union(map(chr, range(32)))
_SHORT = r"[A-Z0-9!#$%&'()\-@^_`{}~]"
_FITS = re.compile(rf"({_SHORT}{{1,8}})(?:\.({_SHORT}{{1,3}}))?")
_BAD_SHORT = re.compile(r"[^A-Z0-9!#$%&'()\-@^_`{}~]")
_MAX_TAIL = 999_999
# Ordinal, five units, attribute, type, checksum, six units, first cluster, two units.
LONG_ENTRY = struct.Struct("<B10sBBB12sH4s")


def fold(name: str) -> str:
    """``name`` as FAT compares it: upper case, character by character."""
    return "".join(upper if len(upper := each.upper()) == 1 else each for each in name)


def check(names: Iterable[str], *, where: str) -> None:
    """Raise ``ConfigError`` when one of these names cannot be in the directory ``where``, or two are the same there."""
    seen: dict[str, str] = {}
    for name in names:
        path = f"{where}/{name}" if where else name
        if not name or name[-1] in ". " or name[0] == " " or not _BAD_LONG.isdisjoint(name):
            raise ConfigError("this name cannot be in a FAT file system", where=path)
        if any("\ud800" <= each <= "\udfff" for each in name):
            raise ConfigError("this name is not text, which a FAT file system needs", where=repr(path))
        if units(name) > _MAX_UNITS:
            raise ConfigError("this name is longer than the 255 characters of a FAT file system", where=path)
        other = seen.setdefault(fold(name), name)
        if other != name:
            raise ConfigError(f"{other} and {name} are one name in a FAT file system", where=path)


def units(name: str) -> int:
    """Length in UTF-16 code units."""
    return len(name) + sum(each > "\uffff" for each in name)


def short_names(names: Iterable[str]) -> dict[str, bytes]:
    """The 11 bytes of the 8.3 name of each of a directory's names, given in the order that numbers are dealt in."""
    made: dict[str, bytes] = {}
    rest = []
    for name in names:
        found = _FITS.fullmatch(name.upper()) if name.isascii() else None
        if found:
            made[name] = _pad(found[1], found[2] or "")
        else:
            rest.append(name)
    used = set(made.values())
    numbers: dict[tuple[str, str], int] = {}
    for name in rest:
        basis = _basis(name)
        made[name] = short = _tailed(basis, numbers, used)
        used.add(short)
    return made


def needs_long(name: str, short: bytes) -> bool:
    """Whether the 8.3 name ``short`` does not say all of ``name``."""
    return text(short) != name


def text(short: bytes) -> str:
    """An 8.3 name as it is read."""
    base, extension = short[:8].decode("latin-1").rstrip(" "), short[8:11].decode("latin-1").rstrip(" ")
    return f"{base}.{extension}" if extension else base


def long_entries(name: str, short: bytes) -> bytes:
    """The entries that hold ``name``, last part first, as they stand before the entry with ``short``."""
    raw = name.encode("utf-16-le")
    count = -(-len(raw) // (2 * LONG_UNITS))
    if len(raw) % (2 * LONG_UNITS):
        raw = (raw + b"\0\0").ljust(count * 2 * LONG_UNITS, b"\xff")
    sum_ = checksum(short)
    made = []
    for number in range(count, 0, -1):
        part = raw[(number - 1) * 2 * LONG_UNITS : number * 2 * LONG_UNITS]
        ordinal = number | (LAST_LONG if number == count else 0)
        made.append(LONG_ENTRY.pack(ordinal, part[:10], LONG_ATTRIBUTE, 0, sum_, part[10:22], 0, part[22:]))
    return b"".join(made)


def entry_count(name: str, short: bytes) -> int:
    """How many directory entries ``name`` takes."""
    return 1 + (-(-units(name) // LONG_UNITS) if needs_long(name, short) else 0)


def checksum(short: bytes) -> int:
    """What ties long-name entries to their 8.3 entry (7.2)."""
    total = 0
    for byte in short:
        total = ((total & 1) << 7 | total >> 1) + byte & 0xFF
    return total


def _basis(name: str) -> tuple[str, str]:
    """Up to 8 and 3 characters that are like ``name``."""
    stem, dot, extension = name.replace(" ", "").lstrip(".").rpartition(".")
    if not dot:
        stem, extension = extension, ""
    base = _BAD_SHORT.sub("_", fold(stem.replace(".", "")))[:8]
    return base or "_", _BAD_SHORT.sub("_", fold(extension))[:3]


def _tailed(basis: tuple[str, str], numbers: dict[tuple[str, str], int], used: set[bytes]) -> bytes:
    """The first ``BASE~N`` that is free."""
    base, extension = basis
    for number in range(numbers.get(basis, 0) + 1, _MAX_TAIL + 1):
        tail = f"~{number}"
        short = _pad(base[: 8 - len(tail)] + tail, extension)
        if short not in used:
            numbers[basis] = number
            return short
    raise ConfigError("too many names are alike for a FAT directory", where=f"{base}.{extension}")


def _pad(base: str, extension: str) -> bytes:
    return (base.ljust(8) + extension.ljust(3)).encode("ascii")
