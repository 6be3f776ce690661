"""The kernel inside an x86 bzImage, which QEMU starts by itself where it would have to emulate the unpacking.

Emulated, a kernel that unpacks and relocates itself takes about a fifth of a boot to the first page; here it takes a
fraction of a second. What runs is the same kernel, entered at its PVH entry, at the address it was linked for: so its
addresses are not random. It gets no screen from the firmware, and its initrd lies right below the 160 KiB in which QEMU
expects the ACPI tables, of which there are more with some devices.

Sources: Xen's public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY), ELF-64 Object File Format 1.5.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from moby.errors import ConfigError, IntegrityError
from moby.formats import bzimage, kernelimage
from moby.formats.stream import SMALL_BYTES, Source

_FIRST_MAJOR = 5  # before, the entry was for Xen alone
_MAX_BYTES = 512 << 20
_MAX_HEADERS, _MAX_NOTES_BYTES = 64, 1 << 16
_ELF64, _X86_64, _NOTE = 2, 62, 4
_PHYS32_ENTRY = 18


def unpack(kernel: Path, out: IO[bytes]) -> bool:
    """Write the ELF kernel of the bzImage ``kernel`` to ``out``; False where there is none that QEMU can start.

    Raises ``OSError`` when a file cannot be read or written.
    """
    with kernel.open("rb") as stream:
        found = kernelimage.read(stream)
        if found is None or found.form != "bzImage" or _major(found.version) < _FIRST_MAJOR:
            return False
        stream.seek(0)
        try:
            plain = bzimage.payload(Source(stream, str(kernel)), kernel.stat().st_size)
            while chunk := plain.read(SMALL_BYTES):
                out.write(chunk)
                if out.tell() > _MAX_BYTES:
                    return False
        except (ConfigError, IntegrityError):
            return False
    out.flush()
    return _has_direct_entry(out)


def _major(version: str) -> int:
    number = version.partition(".")[0]
    return int(number) if number.isdecimal() else 0


def _has_direct_entry(elf: IO[bytes]) -> bool:
    """Whether this is an x86-64 ELF file with the note that tells where 32-bit code enters it."""
    elf.seek(0)
    head = elf.read(64)
    if len(head) < 64 or not head.startswith(b"\x7fELF") or head[4] != _ELF64:
        return False
    if struct.unpack_from("<H", head, 18) != (_X86_64,):
        return False
    (table,) = struct.unpack_from("<Q", head, 32)
    entry_bytes, entries = struct.unpack_from("<HH", head, 54)
    for index in range(min(entries, _MAX_HEADERS)):
        header = _at(elf, table + index * entry_bytes, 56)
        if len(header) == 56 and struct.unpack_from("<I", header) == (_NOTE,):
            start, size = struct.unpack_from("<Q", header, 8)[0], struct.unpack_from("<Q", header, 32)[0]
            if any(note == (b"Xen\0", _PHYS32_ENTRY) for note in _notes(_at(elf, start, min(size, _MAX_NOTES_BYTES)))):
                return True
    return False


def _at(stream: IO[bytes], offset: int, size: int) -> bytes:
    """What the file has there, up to its end."""
    if offset > _MAX_BYTES:
        return b""
    stream.seek(offset)
    return stream.read(size)


def _notes(segment: bytes) -> Iterator[tuple[bytes, int]]:
    """Owner and type of each note."""
    position = 0
    while position + 12 <= len(segment):
        owner_bytes, content_bytes, kind = struct.unpack_from("<III", segment, position)
        yield segment[position + 12 : position + 12 + owner_bytes], kind
        position += 12 + -(-owner_bytes // 4) * 4 + -(-content_bytes // 4) * 4
