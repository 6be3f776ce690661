"""Small 64-bit little-endian ELF files made by code: programs and libraries by what they need, kernel modules."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_SECTION = struct.Struct("<IIQQQQIIQQ")
_IDENT = b"\x7fELF\x02\x01\x01" + bytes(9)
_BASE = 0x400000


def dynamic(
    needed: Sequence[str] = (), *, interpreter: str = "", rpath: str = "", runpath: str = "", machine: int = 62
) -> bytes:
    """A shared object, or a program when it has an interpreter, that asks for ``needed``."""
    strings, tags = b"\0", []
    for tag, text in [(1, each) for each in needed] + [(15, rpath)] * bool(rpath) + [(29, runpath)] * bool(runpath):
        tags.append((tag, len(strings)))
        strings += text.encode() + b"\0"
    count = 3 if interpreter else 2
    start = _HEADER.size + count * _PROGRAM.size
    loader = interpreter.encode() + b"\0" if interpreter else b""
    names_at = start + len(loader)
    table = b"".join(
        struct.pack("<QQ", tag, value) for tag, value in [*tags, (5, _BASE + names_at), (10, len(strings)), (0, 0)]
    )
    table_at = names_at + len(strings)
    size = table_at + len(table)
    programs = [_PROGRAM.pack(1, 5, 0, _BASE, _BASE, size, size, 4096)]
    programs += [_PROGRAM.pack(2, 6, table_at, _BASE + table_at, 0, len(table), len(table), 8)]
    programs += [_PROGRAM.pack(3, 4, start, _BASE + start, 0, len(loader), len(loader), 1)] if interpreter else []
    header = _HEADER.pack(_IDENT, 3, machine, 1, 0, _HEADER.size, 0, 0, 64, _PROGRAM.size, count, 0, 0, 0)
    return header + b"".join(programs) + loader + strings + table


def module(name: str, *, depends: Sequence[str] = (), pre: Sequence[str] = (), aliases: Sequence[str] = ()) -> bytes:
    """A kernel module that says this in its ``.modinfo``."""
    pairs = [f"name={name}", f"depends={','.join(depends)}", *(f"alias={each}" for each in aliases)]
    pairs += [f"softdep=pre: {' '.join(pre)}"] if pre else []
    info = b"".join(pair.encode() + b"\0" for pair in pairs)
    names = b"\0.modinfo\0.shstrtab\0"
    info_at = _HEADER.size
    names_at = info_at + len(info)
    table_at = names_at + len(names)
    sections = [
        _SECTION.pack(0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
        _SECTION.pack(1, 1, 2, 0, info_at, len(info), 0, 0, 1, 0),
        _SECTION.pack(10, 3, 0, 0, names_at, len(names), 0, 0, 1, 0),
    ]
    header = _HEADER.pack(_IDENT, 1, 62, 1, 0, 0, table_at, 0, 64, 0, 0, _SECTION.size, 3, 2)
    return header + info + names + b"".join(sections)
