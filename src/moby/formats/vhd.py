"""Virtual Hard Disk images, fixed and dynamic, from a raw disk.

A fixed one is the disk and a footer; a dynamic one has the footer at both ends, and between them only the blocks that
are not all zeros. Azure takes fixed ones whose disk is a whole number of MiB.

Source: Microsoft, "Virtual Hard Disk Image Format Specification", version 1.0 of 2006-10-11.
"""

from __future__ import annotations

import struct
import uuid
from typing import BinaryIO

from moby.errors import ConfigError
from moby.formats import sparse

SECTOR_BYTES = 512
BLOCK_BYTES = 2 << 20
EPOCH_S = 946684800  # 2000-01-01, from which the format counts seconds
_MAX_BYTES = 2040 << 30

# "Hard Disk Footer Format": cookie, features, version, data offset, time stamp, creator (application, version, host),
# original and current size, geometry, type, checksum, id, saved state.
_FOOTER = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_FOOTER_CHECKSUM_AT = 64
_FIXED, _DYNAMIC = 2, 3
_NOWHERE = 0xFFFFFFFFFFFFFFFF
# QEMU, and what learned from it, believes the size field only of this creator (and a few others), and else computes
# the size from the geometry, which loses up to a cylinder.
_CREATOR = b"win "
# "Dynamic Disk Header Format": cookie, data offset, table offset, version, table entries, block size, checksum, parent
# (id, time stamp, reserved, name, locators), reserved.
_DYNAMIC_HEADER = struct.Struct(">8sQQIIII16sII512s192s256x")
_HEADER_CHECKSUM_AT = 36
_TABLE_AT = _FOOTER.size + _DYNAMIC_HEADER.size
_UNUSED = 0xFFFFFFFF
_BITMAP = b"\xff" * SECTOR_BYTES  # every sector of a block is there


def write_fixed(
    disk: BinaryIO, out: BinaryIO, *, id: uuid.UUID, time_s: int = EPOCH_S, align_bytes: int = SECTOR_BYTES
) -> None:
    """Write the raw ``disk``, filled up to a multiple of ``align_bytes``, to an empty seekable ``out``.

    ``time_s`` counts from 1970. Raises ``ConfigError`` for more than 2040 GiB.
    """
    size = _size(disk, align_bytes)
    sparse.copy(disk, out)
    sparse.grow(out, size)
    out.seek(size)
    out.write(_footer(size, _FIXED, id, time_s, _NOWHERE))


def write_dynamic(disk: BinaryIO, out: BinaryIO, *, id: uuid.UUID, time_s: int = EPOCH_S) -> None:
    """Write what is not zero of the raw ``disk`` to an empty seekable ``out``. As ``write_fixed``."""
    size = _size(disk, SECTOR_BYTES)
    count = -(-size // BLOCK_BYTES)
    table = [_UNUSED] * count
    table_bytes = -(-count * 4 // SECTOR_BYTES) * SECTOR_BYTES
    at = _TABLE_AT + table_bytes
    footer = _footer(size, _DYNAMIC, id, time_s, _FOOTER.size)
    for number, block in sparse.blocks(disk, BLOCK_BYTES):
        table[number] = at // SECTOR_BYTES
        out.seek(at)
        out.write(_BITMAP)
        sparse.put(out, at + len(_BITMAP), block)
        at += len(_BITMAP) + BLOCK_BYTES
    out.seek(at)
    out.write(footer)
    out.seek(0)
    out.write(footer + _dynamic_header(count))
    out.write(struct.pack(f">{count}I", *table).ljust(table_bytes, b"\xff"))


def _size(disk: BinaryIO, align_bytes: int) -> int:
    step = max(SECTOR_BYTES, align_bytes)
    size = -(-sparse.size_of(disk) // step) * step
    if size > _MAX_BYTES:
        raise ConfigError(f"a disk of {size >> 30} GiB cannot be a VHD, whose limit is 2040 GiB", fix="use vhdx")
    return size


def _footer(size: int, kind: int, id: uuid.UUID, time_s: int, data_offset: int) -> bytes:
    when = min(max(0, time_s - EPOCH_S), 0xFFFFFFFF)
    raw = _FOOTER.pack(
        b"conectix",
        2,  # reserved, must be set
        0x10000,
        data_offset,
        when,
        _CREATOR,
        0x10000,
        b"Wi2k",
        size,
        size,
        *geometry(size // SECTOR_BYTES),
        kind,
        0,
        id.bytes,
        0,
    )
    return _checked(raw, _FOOTER_CHECKSUM_AT)


def _dynamic_header(count: int) -> bytes:
    raw = _DYNAMIC_HEADER.pack(
        b"cxsparse", _NOWHERE, _TABLE_AT, 0x10000, count, BLOCK_BYTES, 0, bytes(16), 0, 0, bytes(512), bytes(192)
    )
    return _checked(raw, _HEADER_CHECKSUM_AT)


def _checked(raw: bytes, at: int) -> bytes:
    """``raw`` with the complement of the sum of its bytes in its place."""
    return raw[:at] + (~sum(raw) & 0xFFFFFFFF).to_bytes(4, "big") + raw[at + 4 :]


def geometry(sectors: int) -> tuple[int, int, int]:
    """Cylinders, heads and sectors per track of a disk ("Appendix: CHS Calculation")."""
    sectors = min(sectors, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        return sectors // 255 // 16, 16, 255
    tracks, per_track = sectors // 17, 17
    heads = max((tracks + 1023) // 1024, 4)
    if tracks >= heads * 1024 or heads > 16:
        tracks, per_track, heads = sectors // 31, 31, 16
    if tracks >= heads * 1024:
        tracks, per_track, heads = sectors // 63, 63, 16
    return tracks // heads, heads, per_track
