"""El Torito: how firmware finds what to boot on a CD.

The boot record, the descriptor after the primary one, names the sector of the catalog. The catalog is a validation
entry, the default entry, then a header and entries for each further platform ("El Torito" Bootable CD-ROM Format
Specification 1.0; UEFI 13.3.2.1 for platform 0xef). Everything here boots without emulation of a floppy or disk.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from moby.errors import ConfigError, IntegrityError
from moby.formats.iso9660_records import MAGIC, SECTOR, SYSTEM_AREA, padded

BLOCK = 512  # what load sizes are counted in
_ENTRY = 32
_BOOTABLE = 0x88
_HEADER, _LAST_HEADER = 0x90, 0x91
_SYSTEM = b"EL TORITO SPECIFICATION"
_TABLE_AT, _TABLE_END = 8, 64  # the boot information table of ISOLINUX
_INFO_LIMIT = 1 << 20


class Platform(enum.IntEnum):
    """Whose image it is: platform ids of the catalog."""

    BIOS = 0
    EFI = 0xEF


@dataclass(frozen=True, slots=True, kw_only=True)
class BootImage:
    """A file of the tree that firmware boots.

    BIOS loads ``load_blocks`` blocks of 512 bytes; None is the whole file. EFI takes the file as a FAT file system.
    ``info_table`` tells the file, at its byte 8, where it lies, which ISOLINUX wants to know.
    """

    path: str
    platform: Platform
    load_blocks: int | None = None
    info_table: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """A boot image in its place: first sector of 2048 bytes, size in bytes."""

    platform: Platform
    sector: int
    size: int
    load_blocks: int | None = None

    @property
    def blocks(self) -> int:
        """What the catalog says of its length. It has 16 bits; for EFI, 0 means up to the end of the disc."""
        if self.load_blocks is not None:
            return self.load_blocks
        blocks = -(-self.size // BLOCK)
        if blocks <= 0xFFFF:
            return blocks
        return 0 if self.platform is Platform.EFI else 0xFFFF


def descriptor(catalog_sector: int) -> bytes:
    """The boot record (specification 2.0)."""
    return padded(b"\0" + MAGIC + b"\x01" + _SYSTEM.ljust(64, b"\0") + struct.pack("<I", catalog_sector))


def catalog(extents: Sequence[Extent]) -> bytes:
    """The boot catalog, one sector. Raises ``ConfigError`` when there is nothing in it, or too much."""
    if not 1 <= len(extents) <= SECTOR // _ENTRY // 2 - 1:
        raise ConfigError(f"{len(extents)} boot images do not fit a boot catalog")
    first, *others = extents
    made = _validation(first.platform) + _entry(first)
    for number, extent in enumerate(others, 1):
        kind = _LAST_HEADER if number == len(others) else _HEADER
        made += struct.pack("<BBH", kind, extent.platform, 1).ljust(_ENTRY, b"\0") + _entry(extent)
    return padded(made)


def read_catalog(data: bytes) -> tuple[Extent, ...]:
    """The bootable entries of a catalog; ``size`` is what they are loaded by. Raises ``IntegrityError``."""
    words = struct.unpack_from("<16H", data)
    if data[0] != 1 or data[30:32] != b"\x55\xaa" or sum(words) & 0xFFFF:
        raise IntegrityError("the boot catalog's validation entry is wrong")
    platform, found, left, more = data[1], [], 1, True
    for at in range(_ENTRY, SECTOR, _ENTRY):
        entry = data[at : at + _ENTRY]
        if left:
            left -= 1
            if entry[0] == _BOOTABLE and platform in list(Platform):
                blocks, sector = struct.unpack_from("<HI", entry, 6)
                extent = Extent(platform=Platform(platform), sector=sector, size=blocks * BLOCK, load_blocks=blocks)
                found.append(extent)
        elif more and entry[0] in (_HEADER, _LAST_HEADER):
            platform, left, more = entry[1], struct.unpack_from("<H", entry, 2)[0], entry[0] == _HEADER
        else:
            break
    return tuple(found)


def with_info_table(data: bytes, sector: int) -> bytes:
    """A boot file at ``sector`` that knows it: descriptor, own place, length and checksum from byte 8 on.

    Raises ``IntegrityError`` when there is no room for the table.
    """
    if not _TABLE_END <= len(data) <= _INFO_LIMIT:
        raise IntegrityError(f"a boot file of {len(data)} bytes cannot have a boot information table")
    body = data[_TABLE_END:].ljust(-(-(len(data) - _TABLE_END) // 4) * 4, b"\0")
    checksum = sum(struct.unpack(f"<{len(body) // 4}I", body)) & 0xFFFFFFFF
    table = struct.pack("<IIII", SYSTEM_AREA, sector, len(data), checksum)
    return data[:_TABLE_AT] + table.ljust(_TABLE_END - _TABLE_AT, b"\0") + data[_TABLE_END:]


def _validation(platform: Platform) -> bytes:
    """The first entry: the sum of its words is 0."""
    made = struct.pack("<BBH24sHBB", 1, platform, 0, b"", 0, 0x55, 0xAA)
    checksum = -sum(struct.unpack("<16H", made)) & 0xFFFF
    return made[:28] + struct.pack("<H", checksum) + made[30:]


def _entry(extent: Extent) -> bytes:
    return struct.pack("<BBHBBHI", _BOOTABLE, 0, 0, 0, 0, extent.blocks, extent.sector).ljust(_ENTRY, b"\0")
