"""Hyper-V's virtual disk images (VHDX), dynamic, from a raw disk.

The first MiB holds the file's identity, two headers and two copies of the region table; then come log, metadata and
block table, each from a whole MiB on, and the blocks that are not all zeros. The log is empty.

Source: Microsoft [MS-VHDX], revision 9.0, whose chapters the comments name.
"""

from __future__ import annotations

import struct
import uuid
from typing import BinaryIO

from moby.errors import ConfigError
from moby.formats import sparse
from moby.formats.crc32c import crc32c

MIB = 1 << 20
SECTOR_BYTES = 512
PHYSICAL_SECTOR_BYTES = 4096
_MAX_BYTES = 64 << 40
_SECTIONS_BYTES = 64 << 10
_LOG_AT, _METADATA_AT, _TABLE_AT = 1 * MIB, 2 * MIB, 3 * MIB

# 2.2.1 "File Type Identifier" and 2.2.2 "Headers": signature, checksum, sequence number, file write, data write and log
# GUIDs, log version, version, log length and offset.
_IDENTIFIER, _CREATOR = b"vhdxfile", "moby".encode("utf-16-le")
_HEADER = struct.Struct("<4sIQ16s16s16sHHIQ")
_HEADER_BYTES = 4096
_HEADERS_AT = (1 * _SECTIONS_BYTES, 2 * _SECTIONS_BYTES)
# 2.2.3.1 "Region Table Header" and 2.2.3.2 "Region Table Entry".
_REGIONS = struct.Struct("<4sIII")
_REGION = struct.Struct("<16sQII")
_REGIONS_AT = (3 * _SECTIONS_BYTES, 4 * _SECTIONS_BYTES)
_BLOCK_TABLE = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
# 2.6.1 "Metadata Table"; the flags of an item: about the virtual disk, needed.
_ITEMS = struct.Struct("<8sHH20x")
_ITEM = struct.Struct("<16sIIII")
_DISK, _NEEDED = 2, 4
# 2.6.2 "Known Metadata Items".
_FILE_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_DISK_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_DISK_ID = uuid.UUID("beca12ab-b2e6-4523-93ef-c309e000c746")
_LOGICAL_SECTOR = uuid.UUID("8141bf1d-a96f-4709-ba47-f233a8faab5f")
_PHYSICAL_SECTOR = uuid.UUID("cda348c7-445d-4471-9cc9-e9885251c556")
# 2.5.1.1 "Payload Block States".
_PRESENT = 6
_ENTRY = struct.Struct("<Q")


def write(disk: BinaryIO, out: BinaryIO, *, id: uuid.UUID, block_bytes: int = MIB) -> None:
    """Write what is not zero of the raw ``disk`` to an empty seekable ``out``, in blocks of 1 to 256 MiB.

    The size is rounded up to whole sectors of 512 bytes. ``id`` is the disk's; the ids of the file are made from it.
    Memory grows with what is not zero, not with the disk.
    Raises ``ConfigError`` for more than 64 TiB.
    """
    size = -(-sparse.size_of(disk) // SECTOR_BYTES) * SECTOR_BYTES
    if size > _MAX_BYTES:
        raise ConfigError(f"a disk of {size >> 40} TiB cannot be a VHDX, whose limit is 64 TiB")
    # 2.5: after this many blocks comes an entry for their sector bitmaps, which only differencing disks have.
    ratio = (1 << 23) * SECTOR_BYTES // block_bytes
    count = -(-size // block_bytes)
    table_bytes = max(MIB, -(-(count + max(0, count - 1) // ratio) * _ENTRY.size // MIB) * MIB)
    places: dict[int, int] = {}
    at = _TABLE_AT + table_bytes
    for number, block in sparse.blocks(disk, block_bytes):
        places[number + number // ratio] = at
        sparse.put(out, at, block)
        at += block_bytes
    sparse.grow(out, at)
    for entry, place in places.items():  # what is not there is 0, as the file is where nothing was written
        out.seek(_TABLE_AT + entry * _ENTRY.size)
        out.write(_ENTRY.pack(place | _PRESENT))
    out.seek(_METADATA_AT)
    out.write(_metadata(size, block_bytes, id))
    _write_start(out, id, table_bytes)


def _write_start(out: BinaryIO, id: uuid.UUID, table_bytes: int) -> None:
    """The first MiB (2.2)."""
    out.seek(0)
    out.write(_IDENTIFIER + _CREATOR)
    for sequence, at in enumerate(_HEADERS_AT, 1):
        out.seek(at)
        out.write(_header(sequence, id))
    regions = _regions(table_bytes)
    for at in _REGIONS_AT:
        out.seek(at)
        out.write(regions)


def _header(sequence: int, id: uuid.UUID) -> bytes:
    written, data = uuid.uuid5(id, "file write"), uuid.uuid5(id, "data write")
    no_log = bytes(16)
    raw = _HEADER.pack(b"head", 0, sequence, written.bytes_le, data.bytes_le, no_log, 0, 1, MIB, _LOG_AT)
    return _checked(raw.ljust(_HEADER_BYTES, b"\0"))


def _regions(table_bytes: int) -> bytes:
    raw = _REGIONS.pack(b"regi", 0, 2, 0)
    raw += _REGION.pack(_BLOCK_TABLE.bytes_le, _TABLE_AT, table_bytes, 1)
    raw += _REGION.pack(_METADATA.bytes_le, _METADATA_AT, MIB, 1)
    return _checked(raw.ljust(_SECTIONS_BYTES, b"\0"))


def _metadata(size: int, block_bytes: int, id: uuid.UUID) -> bytes:
    """The table of items, then the items (2.6)."""
    items = (
        (_FILE_PARAMETERS, struct.pack("<II", block_bytes, 0), _NEEDED),
        (_DISK_SIZE, struct.pack("<Q", size), _DISK | _NEEDED),
        (_DISK_ID, id.bytes_le, _DISK | _NEEDED),
        (_LOGICAL_SECTOR, struct.pack("<I", SECTOR_BYTES), _DISK | _NEEDED),
        (_PHYSICAL_SECTOR, struct.pack("<I", PHYSICAL_SECTOR_BYTES), _DISK | _NEEDED),
    )
    table, values = _ITEMS.pack(b"metadata", 0, len(items)), b""
    for kind, value, flags in items:
        table += _ITEM.pack(kind.bytes_le, _SECTIONS_BYTES + len(values), len(value), flags, 0)
        values += value
    return table.ljust(_SECTIONS_BYTES, b"\0") + values


def _checked(raw: bytes) -> bytes:
    """``raw`` with its checksum after the signature."""
    return raw[:4] + crc32c(raw).to_bytes(4, "little") + raw[8:]
