"""GUID partition tables: a header and entries at both ends of a disk, behind a protective MBR.

Sources: UEFI specification 2.10, 5.2.3 "Protective MBR" and 5.3 "GUID Partition Table (GPT) Disk Layout".
"""

from __future__ import annotations

import itertools
import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.formats import mbr, sparse
from moby.formats.mbr import ALIGNMENT_SECTORS, SECTOR_BYTES

__all__ = ["ALIGNMENT_SECTORS", "SECTOR_BYTES", "Partition", "Table", "pack", "read", "validate", "write"]

# 5.3.3, table 5.7 "Defined GPT partition entry - partition type GUIDs", and the Discoverable Partitions Specification.
EFI_SYSTEM = uuid.UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
LINUX = uuid.UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")
# Table 5.8 "Defined GPT partition entry - attributes".
LEGACY_BOOTABLE = 1 << 2
READ_ONLY = 1 << 60  # Discoverable Partitions Specification

ENTRIES = 128
FIRST_USABLE = 34
BACKUP_SECTORS = 33  # entries and header; what a disk needs after its last partition
_TABLE_SECTORS = 32
_NAME_UNITS = 36

# Table 5.5: signature, revision, header size, CRC, reserved, my LBA, alternate LBA, first and last usable LBA, disk
# GUID, entries' LBA, number of entries, size of an entry, CRC of the entries.
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_SIGNATURE, _REVISION, _CRC_AT = b"EFI PART", 0x10000, 16
# Table 5.6: type GUID, unique GUID, starting LBA, ending LBA, attributes, name.
_ENTRY = struct.Struct("<16s16sQQQ72s")
# 5.2.3, table 5.4: the partition of the protective MBR starts at CHS 0/0/2 and ends at the last address that CHS has.
_PROTECTIVE = struct.Struct("<B3sB3sII")
_MAX_ENTRY_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """Sectors of 512 bytes from ``first_sector`` to ``last_sector``, both included."""

    type: uuid.UUID
    id: uuid.UUID
    first_sector: int
    last_sector: int
    name: str = ""
    attributes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A disk's partitions. ``boot_code`` (up to 440 bytes) is what a BIOS starts from the protective MBR."""

    partitions: tuple[Partition, ...]
    disk_id: uuid.UUID
    boot_code: bytes = b""


def pack(table: Table, *, disk_bytes: int) -> tuple[bytes, bytes]:
    """The first 34 and the last 33 sectors of a disk of this size.

    Raises ``ConfigError`` when a partition leaves the usable sectors or overlaps another, when a name or an id cannot
    be, and for more than 128 partitions or 440 bytes of boot code.
    """
    sectors = disk_bytes // SECTOR_BYTES
    fault = _fault(table, sectors)
    if fault:
        raise ConfigError(f"cannot make a partition table: {fault}")
    entries = b"".join(_entry(each) for each in table.partitions).ljust(_TABLE_SECTORS * SECTOR_BYTES, b"\0")
    first = _header(table, sectors, entries, my_sector=1, other=sectors - 1, entries_at=2)
    last = _header(table, sectors, entries, my_sector=sectors - 1, other=1, entries_at=sectors - BACKUP_SECTORS)
    return _protective(table.boot_code, sectors) + first + entries, entries + last


def write(table: Table, out: BinaryIO, *, disk_bytes: int) -> None:
    """Put ``table`` at both ends of ``out``, which becomes ``disk_bytes`` (a multiple of 512) long.

    Raises as ``pack``.
    """
    head, tail = pack(table, disk_bytes=disk_bytes)
    sparse.grow(out, disk_bytes)
    out.seek(0)
    out.write(head)
    out.seek(disk_bytes - len(tail))
    out.write(tail)


def read(disk: BinaryIO) -> Table:
    """The table at the start of ``disk``. Raises ``IntegrityError`` when there is none or a checksum is wrong."""
    disk.seek(0)
    return _read(disk, disk.read(SECTOR_BYTES), my_sector=1)


def validate(disk: BinaryIO) -> None:
    """Raise ``IntegrityError`` unless protective MBR, header, entries and their backups are sound and agree."""
    sectors = sparse.size_of(disk) // SECTOR_BYTES
    disk.seek(0)
    first = disk.read(SECTOR_BYTES)
    protective = mbr.read(first).partitions
    covers = min(sectors - 1, mbr.MAX_SECTORS)
    if [(each.type, each.first_sector, each.sectors) for each in protective] != [(mbr.PROTECTIVE, 1, covers)]:
        raise IntegrityError("the protective MBR does not cover the disk")
    table, backup = _read(disk, first, my_sector=1), _read(disk, first, my_sector=sectors - 1)
    if table != backup:
        raise IntegrityError("the backup of the partition table differs from it")
    fault = _fault(table, sectors)
    if fault:
        raise IntegrityError(f"the partition table is broken: {fault}")


def _read(disk: BinaryIO, first: bytes, *, my_sector: int) -> Table:
    """The table of the header in ``my_sector``; ``first`` is the disk's first sector."""
    disk.seek(my_sector * SECTOR_BYTES)
    raw = disk.read(SECTOR_BYTES)
    if len(raw) < SECTOR_BYTES or not raw.startswith(_SIGNATURE):
        raise IntegrityError(f"there is no GUID partition table in sector {my_sector}")
    _, _, size, crc, _, mine, other, usable, last, disk_id, at, count, entry_bytes, entries_crc = _HEADER.unpack_from(
        raw
    )
    if not _HEADER.size <= size <= SECTOR_BYTES or crc != zlib.crc32(
        raw[:_CRC_AT] + bytes(4) + raw[_CRC_AT + 4 : size]
    ):
        raise IntegrityError(f"the partition table in sector {my_sector} does not match its checksum")
    if mine != my_sector or usable > last + 1 or other == mine:
        raise IntegrityError(f"the partition table in sector {my_sector} is for another place")
    if count > 1024 or not _ENTRY.size <= entry_bytes <= _MAX_ENTRY_BYTES:
        raise IntegrityError(f"{count} partition entries of {entry_bytes} bytes are not believable")
    disk.seek(at * SECTOR_BYTES)
    entries = disk.read(count * entry_bytes)
    if len(entries) < count * entry_bytes or zlib.crc32(entries) != entries_crc:
        raise IntegrityError(f"the partition entries in sector {at} do not match their checksum")
    found = (_ENTRY.unpack_from(entries, start) for start in range(0, len(entries), entry_bytes))
    partitions = tuple(_partition(each) for each in found if any(each[0]))
    return Table(
        partitions=partitions,
        disk_id=uuid.UUID(bytes_le=disk_id),
        boot_code=first[: mbr.CODE_BYTES].rstrip(b"\0"),
    )


def _partition(fields: tuple[bytes, bytes, int, int, int, bytes]) -> Partition:
    kind, unique, first, last, attributes, name = fields
    return Partition(
        type=uuid.UUID(bytes_le=kind),
        id=uuid.UUID(bytes_le=unique),
        first_sector=first,
        last_sector=last,
        name=name.decode("utf-16-le", "replace").split("\0")[0],
        attributes=attributes,
    )


def _entry(partition: Partition) -> bytes:
    return _ENTRY.pack(
        partition.type.bytes_le,
        partition.id.bytes_le,
        partition.first_sector,
        partition.last_sector,
        partition.attributes,
        partition.name.encode("utf-16-le"),
    )


def _header(table: Table, sectors: int, entries: bytes, *, my_sector: int, other: int, entries_at: int) -> bytes:
    """One of the two headers, filled up to a sector."""
    raw = _HEADER.pack(
        _SIGNATURE,
        _REVISION,
        _HEADER.size,
        0,
        0,
        my_sector,
        other,
        FIRST_USABLE,
        sectors - BACKUP_SECTORS - 1,
        table.disk_id.bytes_le,
        entries_at,
        ENTRIES,
        _ENTRY.size,
        zlib.crc32(entries),
    )
    raw = raw[:_CRC_AT] + zlib.crc32(raw).to_bytes(4, "little") + raw[_CRC_AT + 4 :]
    return raw.ljust(SECTOR_BYTES, b"\0")


def _protective(boot_code: bytes, sectors: int) -> bytes:
    record = _PROTECTIVE.pack(0, b"\0\2\0", mbr.PROTECTIVE, b"\xff\xff\xff", 1, min(sectors - 1, mbr.MAX_SECTORS))
    return boot_code.ljust(446, b"\0") + record + bytes(48) + b"\x55\xaa"


def _fault(table: Table, sectors: int) -> str:
    """What is wrong with ``table`` on a disk of this many sectors, if anything."""
    if len(table.boot_code) > mbr.CODE_BYTES:
        return f"{len(table.boot_code)} bytes of boot code, {mbr.CODE_BYTES} fit"
    if len(table.partitions) > ENTRIES:
        return f"{len(table.partitions)} partitions, {ENTRIES} fit"
    if sectors < FIRST_USABLE + BACKUP_SECTORS:
        return f"a disk of {sectors} sectors has no room for one"
    ids = [each.id for each in table.partitions] + [table.disk_id]
    if len(set(ids)) < len(ids):
        return "two partitions, or one and the disk, have the same id"
    return next(filter(None, (_misfit(each, sectors) for each in table.partitions)), "") or _overlap(table)


def _misfit(partition: Partition, sectors: int) -> str:
    """What is wrong with one partition."""
    first, last = partition.first_sector, partition.last_sector
    if not FIRST_USABLE <= first <= last < sectors - BACKUP_SECTORS:
        return f"sectors {first} to {last} are not between {FIRST_USABLE} and {sectors - BACKUP_SECTORS - 1}"
    if partition.type.int == 0:
        return f"the type of partition {partition.name!r} means that there is none"
    if len(partition.name.encode("utf-16-le", "surrogatepass")) > 2 * _NAME_UNITS:
        return f"the name {partition.name!r} is longer than {_NAME_UNITS} characters"
    if any(each == "\0" or "\ud800" <= each <= "\udfff" for each in partition.name):
        return f"the name {partition.name!r} is not text"
    if not 0 <= partition.attributes < 1 << 64:
        return f"{partition.attributes:#x} is not a set of 64 attributes"
    return ""


def _overlap(table: Table) -> str:
    by_place = sorted(table.partitions, key=lambda each: each.first_sector)
    for one, other in itertools.pairwise(by_place):
        if one.last_sector >= other.first_sector:
            return f"partitions overlap at sector {other.first_sector}"
    return ""
