"""Makes an ISO image that also boots when it is written to a disk or USB stick.

The system area of an ISO image, its first 32 KiB, is free for boot code and partition tables:

- BIOS: ``isohdpfx.bin`` of ISOLINUX loads ``isolinux.bin``, whose place is told to it at byte 432.
- EFI: a partition table with the file that El Torito names as EFI system partition. Nothing is there twice.

With EFI it is a GPT with a protective MBR, whose second record is empty and marked active: there are BIOSes that
start no disk without one, and UEFI firmware ignores it. What is not EFI's is covered by data partitions, so that
partitioning programs do not see it as free. Without EFI it is an MBR with one active partition.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.formats import gpt, mbr, sparse
from moby.formats.eltorito import Extent, Platform
from moby.formats.iso9660 import Written
from moby.formats.iso9660_records import SECTOR

CODE_BYTES = 432
_BLOCKS = SECTOR // mbr.SECTOR_BYTES  # disk sectors in a sector of the image
_HYBRID_AT, _HYBRID = 64, b"\xfb\xc0\x78\x70"  # how isolinux.bin says that it can be started from a disk
_HIDDEN = 0x17  # the partition type that isohybrid programs use for the whole image
_ACTIVE_RECORD = struct.pack("<B3sB3sII", 0x80, bytes(3), 0, bytes(3), 0, 1)
_SECOND_RECORD_AT = 446 + 16
_ALIGNMENT = 1 << 20


def apply(out: BinaryIO, written: Written, *, disk_id: uuid.UUID, boot_code: bytes = b"") -> int:
    """Give the image that was just written to ``out`` partition tables, and return its new size in bytes.

    ``out`` must be readable and seekable. ``boot_code`` is ``isohdpfx.bin``, needed where a BIOS image was written.
    Raises ``ConfigError`` when there is nothing to boot, ``IntegrityError`` when boot code is not what it should be.
    """
    images = {extent.platform: extent for extent in written.boot}
    bios, efi = images.get(Platform.BIOS), images.get(Platform.EFI)
    if bios is None and efi is None:
        raise ConfigError("an image without boot images cannot be made to boot from a disk")
    code = _code(out, bios, boot_code) if bios is not None else b""
    size = -(-(written.size + gpt.BACKUP_SECTORS * mbr.SECTOR_BYTES) // _ALIGNMENT) * _ALIGNMENT
    if efi is not None:
        partitions = tuple(_partitions(efi, size, disk_id))
        gpt.write(gpt.Table(partitions=partitions, disk_id=disk_id, boot_code=code), out, disk_bytes=size)
        out.seek(_SECOND_RECORD_AT)
        out.write(_ACTIVE_RECORD)
    else:
        whole = mbr.Partition(type=_HIDDEN, first_sector=1, sectors=size // mbr.SECTOR_BYTES - 1, active=True)
        identifier = disk_id.int & 0xFFFFFFFF
        sparse.grow(out, size)
        out.seek(0)
        out.write(mbr.pack(mbr.Table(partitions=(whole,), disk_id=identifier, boot_code=code), disk_bytes=size))
    out.seek(size)
    return size


def _code(out: BinaryIO, bios: Extent, boot_code: bytes) -> bytes:
    """The boot code, with the place of what it loads."""
    if len(boot_code) != CODE_BYTES:
        raise IntegrityError(f"isohdpfx.bin has {len(boot_code)} bytes, not {CODE_BYTES}")
    out.seek(bios.sector * SECTOR + _HYBRID_AT)
    if out.read(len(_HYBRID)) != _HYBRID:
        raise IntegrityError("the BIOS boot image cannot be started from a disk", fix="use ISOLINUX 4 or newer")
    return boot_code + struct.pack("<Q", bios.sector * _BLOCKS)


def _partitions(efi: Extent, size: int, disk_id: uuid.UUID) -> Iterator[gpt.Partition]:
    """The EFI system partition and what is before and after it."""
    first = efi.sector * _BLOCKS
    end = first + -(-efi.size // SECTOR) * _BLOCKS
    last = size // mbr.SECTOR_BYTES - gpt.BACKUP_SECTORS
    places = (
        ("ISO9660", gpt.LINUX, gpt.FIRST_USABLE, first),
        ("EFI System", gpt.EFI_SYSTEM, first, end),
        ("ISO9660-2", gpt.LINUX, end, last),
    )
    for name, kind, start, stop in places:
        if start < stop:
            identifier = uuid.uuid5(disk_id, name)
            yield gpt.Partition(type=kind, id=identifier, first_sector=start, last_sector=stop - 1, name=name)
