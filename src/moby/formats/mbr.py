"""The master boot record: boot code and up to four partitions in a disk's first sector.

Sources: UEFI specification 2.10, 5.2 "LBA 0 format", tables 5.1 "Legacy MBR" and 5.2 "Legacy MBR Partition Record".
"""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass

from moby.errors import ConfigError, IntegrityError

SECTOR_BYTES = 512
MAX_SECTORS = 0xFFFFFFFF
CODE_BYTES = 440
ALIGNMENT_SECTORS = 2048  # partitions start at 1 MiB, as every partitioning program lets them

FAT32_LBA = 0x0C
LINUX = 0x83
PROTECTIVE = 0xEE
EFI_SYSTEM = 0xEF

# Table 5.1: boot code, unique disk signature, unknown, four records, signature.
_SECTOR = struct.Struct("<440sIH64s2s")
# Table 5.2: boot indicator, starting CHS, type, ending CHS, starting LBA, size in LBA.
_RECORD = struct.Struct("<B3sB3sII")
_ACTIVE = 0x80
_SIGNATURE = b"\x55\xaa"
_HEADS, _TRACK_SECTORS, _CYLINDERS = 255, 63, 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """``sectors`` sectors of 512 bytes from ``first_sector`` on; a BIOS boots from the ``active`` one."""

    type: int
    first_sector: int
    sectors: int
    active: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A disk's first sector. ``disk_id`` is the 32-bit signature by which systems tell disks apart."""

    partitions: tuple[Partition, ...]
    disk_id: int
    boot_code: bytes = b""


def pack(table: Table, *, disk_bytes: int) -> bytes:
    """The 512 bytes of ``table`` for a disk of this size.

    Raises ``ConfigError`` for more than four partitions or 2 TiB, for partitions that overlap or leave the disk, and
    for more boot code than the sector has room for.
    """
    fault = _fault(table, disk_bytes)
    if fault:
        raise ConfigError(f"cannot make a partition table: {fault}")
    records = b"".join(_record(each) for each in table.partitions).ljust(64, b"\0")
    return _SECTOR.pack(table.boot_code, table.disk_id, 0, records, _SIGNATURE)


def read(sector: bytes) -> Table:
    """The table in a disk's first sector. Raises ``IntegrityError`` when there is none."""
    if len(sector) < SECTOR_BYTES:
        raise IntegrityError("the disk is shorter than a sector")
    code, disk_id, _, records, signature = _SECTOR.unpack_from(sector)
    if signature != _SIGNATURE:
        raise IntegrityError("the first sector does not end in 55 AA: no partition table")
    partitions = []
    for indicator, _, kind, _, first, count in _RECORD.iter_unpack(records):
        if indicator not in (0, _ACTIVE):
            raise IntegrityError(f"boot indicator {indicator:#04x}: no partition table")
        if kind:
            partitions.append(Partition(type=kind, first_sector=first, sectors=count, active=indicator == _ACTIVE))
    return Table(partitions=tuple(partitions), disk_id=disk_id, boot_code=code.rstrip(b"\0"))


def validate(sector: bytes, *, disk_bytes: int) -> None:
    """Raise ``IntegrityError`` unless partitions are on the disk, not empty and apart, and one active at most."""
    fault = _fault(read(sector), disk_bytes)
    if fault:
        raise IntegrityError(f"the partition table is broken: {fault}")


def _fault(table: Table, disk_bytes: int) -> str:
    """What is wrong with ``table`` on a disk of this size, if anything."""
    sectors = disk_bytes // SECTOR_BYTES
    if len(table.boot_code) > CODE_BYTES:
        return f"{len(table.boot_code)} bytes of boot code, {CODE_BYTES} fit"
    if len(table.partitions) > 4:
        return f"{len(table.partitions)} partitions, four fit"
    if sum(each.active for each in table.partitions) > 1:
        return "more than one partition is active"
    for each in table.partitions:
        end = each.first_sector + each.sectors
        if each.first_sector < 1 or each.sectors < 1 or end > sectors:
            return f"sectors {each.first_sector} to {end} are not on a disk of {sectors}"
        if end - 1 > MAX_SECTORS:
            return "a partition ends after 2 TiB: use a GPT"
    by_place = sorted(table.partitions, key=lambda each: each.first_sector)
    for one, other in itertools.pairwise(by_place):
        if one.first_sector + one.sectors > other.first_sector:
            return f"partitions overlap at sector {other.first_sector}"
    return ""


def _record(partition: Partition) -> bytes:
    last = partition.first_sector + partition.sectors - 1
    return _RECORD.pack(
        _ACTIVE if partition.active else 0,
        _chs(partition.first_sector),
        partition.type,
        _chs(last),
        partition.first_sector,
        partition.sectors,
    )


def _chs(sector: int) -> bytes:
    """Head, sector and cylinder; past 8 GiB the largest that can be said, as partitioning programs write it."""
    track, within = divmod(sector, _TRACK_SECTORS)
    cylinder, head = divmod(track, _HEADS)
    if cylinder >= _CYLINDERS:
        cylinder, head, within = _CYLINDERS - 1, _HEADS - 1, _TRACK_SECTORS - 1
    return bytes((head, within + 1 | cylinder >> 2 & 0xC0, cylinder & 0xFF))
