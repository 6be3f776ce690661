"""The kernel inside an x86 bzImage, which QEMU starts by itself where it would have to emulate the unpacking.

Emulated, a kernel that unpacks and relocates itself takes a quarter of a boot to the first page; here it takes a
fraction of a second. What runs is the same kernel, entered at its PVH entry, at the address it was linked for.

Sources: Documentation/arch/x86/boot.rst (setup header 2.08), Xen's public/elfnote.h (XEN_ELFNOTE_PHYS32_ENTRY),
ELF-64 Object File Format 1.5.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import zstandard

_LIMIT_BYTES = 512 << 20
_PAYLOAD_SINCE = 0x0208  # the version of the boot protocol
_ELF64, _X86_64, _NOTE = 2, 62, 4
_PHYS32_ENTRY = 18


def unpack(kernel: Path, out: Path) -> bool:
    """Write the ELF kernel of the bzImage ``kernel`` to ``out``; False where there is none that QEMU can start.

    Raises ``OSError`` when a file cannot be read or written.
    """
    content = _unpacked(_payload(kernel.read_bytes()))
    if content is None or not _has_direct_entry(content):
        return False
    out.write_bytes(content)
    return True


def _payload(kernel: bytes) -> bytes:
    """The packed kernel; empty where the setup header does not tell of one."""
    if kernel[0x202:0x206] != b"HdrS" or len(kernel) < 0x250:
        return b""
    (version,) = struct.unpack_from("<H", kernel, 0x206)
    if version < _PAYLOAD_SINCE:
        return b""
    setup_sectors = kernel[0x1F1] or 4
    offset, length = struct.unpack_from("<II", kernel, 0x248)
    start = (setup_sectors + 1) * 512 + offset
    return kernel[start : start + length]


def _zstd(packed: bytes, size: int) -> bytes:
    return zstandard.ZstdDecompressor().decompress(packed, max_output_size=size, allow_extra_data=True)


def _xz(packed: bytes, size: int) -> bytes:
    return lzma.LZMADecompressor().decompress(packed, size)


def _bzip2(packed: bytes, size: int) -> bytes:
    return bz2.BZ2Decompressor().decompress(packed, size)


def _gzip(packed: bytes, size: int) -> bytes:
    return zlib.decompressobj(31).decompress(packed, size)


# LZO and LZ4 have no unpacker here: such kernels unpack themselves.
_UNPACKERS: dict[bytes, Callable[[bytes, int], bytes]] = {
    b"\x28\xb5\x2f\xfd": _zstd,
    b"\xfd7zXZ\0": _xz,
    b"\x5d\0\0": _xz,  # the older format of LZMA
    b"BZh": _bzip2,
    b"\x1f\x8b": _gzip,
}


def _unpacked(payload: bytes) -> bytes | None:
    """The content of a payload; None when it is of a kind we cannot unpack, or broken.

    Its last four bytes are the size of the content, put there by the kernel's build or by gzip itself.
    """
    if len(payload) < 8:
        return None
    size = int.from_bytes(payload[-4:], "little")
    for magic, unpacker in _UNPACKERS.items():
        if payload.startswith(magic) and size <= _LIMIT_BYTES:
            try:
                content = unpacker(payload, size)
            except (zstandard.ZstdError, lzma.LZMAError, zlib.error, EOFError, OSError, MemoryError):
                return None
            return content if len(content) == size else None
    return None


def _has_direct_entry(elf: bytes) -> bool:
    """Whether this is an x86-64 ELF file with the note that tells where 32-bit code enters it."""
    if not elf.startswith(b"\x7fELF") or len(elf) < 64 or elf[4] != _ELF64:
        return False
    if struct.unpack_from("<H", elf, 18) != (_X86_64,):
        return False
    (table,) = struct.unpack_from("<Q", elf, 32)
    entry_bytes, entries = struct.unpack_from("<HH", elf, 54)
    for index in range(entries):
        header = elf[table + index * entry_bytes : table + index * entry_bytes + 56]
        if len(header) == 56 and struct.unpack_from("<I", header) == (_NOTE,):
            start, size = struct.unpack_from("<Q", header, 8)[0], struct.unpack_from("<Q", header, 32)[0]
            if any(note == (b"Xen\0", _PHYS32_ENTRY) for note in _notes(elf[start : start + size])):
                return True
    return False


def _notes(segment: bytes) -> Iterator[tuple[bytes, int]]:
    """Owner and type of each note."""
    position = 0
    while position + 12 <= len(segment):
        owner_bytes, content_bytes, kind = struct.unpack_from("<III", segment, position)
        yield segment[position + 12 : position + 12 + owner_bytes], kind
        position += 12 + -(-owner_bytes // 4) * 4 + -(-content_bytes // 4) * 4
