"""Reads what a dynamic linker reads of an ELF file: interpreter, needed libraries, search paths.

Only 64-bit little-endian files, which all our architectures have. Source: System V ABI, chapters 4 and 5 ("Object
Files", "Program Loading and Dynamic Linking"); machine numbers from its ``e_machine`` table.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from moby.errors import IntegrityError

MAGIC = b"\x7fELF"
X86_64, AARCH64, RISCV = 62, 183, 243

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM = struct.Struct("<IIQQQQQQ")
_DYNAMIC = struct.Struct("<QQ")
_CLASS_64, _LITTLE = 2, 1
_PT_LOAD, _PT_DYNAMIC, _PT_INTERP = 1, 2, 3
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_RPATH, _DT_RUNPATH = 1, 5, 10, 15, 29
_MAX_FILE_BYTES = 1 << 40
_MAX_TABLE_BYTES = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Elf:
    """What one file asks of the dynamic linker. ``interpreter`` is empty for libraries and static programs."""

    machine: int
    interpreter: str = ""
    needed: tuple[str, ...] = ()
    rpath: tuple[str, ...] = ()
    runpath: tuple[str, ...] = ()


def read(stream: BinaryIO, *, where: str = "") -> Elf | None:
    """The dynamic section of a seekable ``stream``; None when it is no 64-bit little-endian ELF file.

    Raises ``IntegrityError`` when it starts as one and is broken.
    """
    head = stream.read(_HEADER.size)
    if head[:4] != MAGIC or len(head) < _HEADER.size or head[4] != _CLASS_64 or head[5] != _LITTLE:
        return None
    _, _, machine, _, _, offset, _, _, _, size, count, *_ = _HEADER.unpack(head)
    try:
        if size < _PROGRAM.size and count:
            raise ValueError("program headers are too small")
        table = _span(stream, offset, size * count)
        programs = [_PROGRAM.unpack_from(table, position * size) for position in range(count)]
        return _dynamic(stream, machine, programs)
    except (ValueError, struct.error) as error:
        raise IntegrityError(f"broken ELF file: {error}", where=where) from error


def _dynamic(stream: BinaryIO, machine: int, programs: list[tuple[int, ...]]) -> Elf:
    interpreter = ""
    values: list[tuple[int, int]] = []
    for kind, _, offset, _, _, size, *_ in programs:
        if kind == _PT_INTERP:
            interpreter = _span(stream, offset, size).split(b"\0")[0].decode("utf-8", "surrogateescape")
        elif kind == _PT_DYNAMIC:
            table = _span(stream, offset, size - size % _DYNAMIC.size)
            values = [(tag, value) for tag, value in _DYNAMIC.iter_unpack(table)]
    facts = dict(reversed(values))
    strings = b""
    if _DT_STRTAB in facts:
        strings = _span(stream, _file_offset(programs, facts[_DT_STRTAB]), facts.get(_DT_STRSZ, 0))

    def texts(tag: int) -> tuple[str, ...]:
        return tuple(_string(strings, value) for each, value in values if each == tag)

    def paths(tag: int) -> tuple[str, ...]:
        return tuple(part for text in texts(tag) for part in text.split(":") if part)

    return Elf(
        machine=machine,
        interpreter=interpreter,
        needed=texts(_DT_NEEDED),
        rpath=paths(_DT_RPATH),
        runpath=paths(_DT_RUNPATH),
    )


def _file_offset(programs: list[tuple[int, ...]], address: int) -> int:
    for kind, _, offset, start, _, size, *_ in programs:
        if kind == _PT_LOAD and start <= address < start + size:
            return offset + address - start
    raise ValueError("string table outside the file")


def _string(strings: bytes, offset: int) -> str:
    end = strings.find(b"\0", offset)
    if not 0 <= offset < len(strings) or end < 0:
        raise ValueError("name outside the string table")
    return strings[offset:end].decode("utf-8", "surrogateescape")


def section(stream: BinaryIO, name: bytes, *, where: str = "") -> bytes:
    """The content of the section called ``name``; empty when there is none. Raises ``IntegrityError``.

    Source: System V ABI, chapter 4, "Sections".
    """
    head = stream.read(_HEADER.size)
    if head[:4] != MAGIC or len(head) < _HEADER.size or head[4] != _CLASS_64 or head[5] != _LITTLE:
        raise IntegrityError("not a 64-bit little-endian ELF file", where=where)
    *_, offset, _, _, _, _, size, count, names = _HEADER.unpack(head)
    layout = struct.Struct("<IIQQQQIIQQ")
    try:
        table = _span(stream, offset, size * count)
        rows = [layout.unpack_from(table, position * size) for position in range(count)]
        strings = _span(stream, rows[names][4], rows[names][5])
        for row in rows:
            if strings[row[0] : strings.index(b"\0", row[0])] == name:
                return _span(stream, row[4], row[5])
    except (ValueError, IndexError, struct.error) as error:
        raise IntegrityError(f"broken ELF file: {error}", where=where) from error
    return b""


def _span(stream: BinaryIO, offset: int, size: int) -> bytes:
    if size > _MAX_TABLE_BYTES or offset > _MAX_FILE_BYTES:
        raise ValueError(f"a table of {size} bytes at {offset}")
    stream.seek(offset)
    data = stream.read(size)
    if len(data) != size:
        raise ValueError("truncated")
    return data
