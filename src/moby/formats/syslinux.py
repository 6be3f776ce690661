"""Making a FAT file system start SYSLINUX: what ``syslinux --install`` does, on a file system of our own.

SYSLINUX 6 consists of a boot sector, ``ldlinux.sys`` (which the boot sector reads without knowing of files) and
``ldlinux.c32``. The installer tells the first two where the second lies: in the boot sector the place of its first
sector, in ``ldlinux.sys`` its length, a list of its other sectors, the place of two sectors for settings ("ADV") behind
it, and a checksum. Sectors count from the start of the file system, so it may be moved to any partition.

Debian has these parts in the program ``syslinux`` alone, from which ``Loader.extract`` takes them.

Source: SYSLINUX 6.04, ``libinstaller/syslxint.h`` (the structures ``patch_area``, ``ext_patch_area`` and
``syslinux_extent``), ``doc/`` and what the program itself writes, with which the tests compare.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError
from moby.formats.content import Content
from moby.formats.fat import BPB, HEAD32, TAIL16, Kind, Layout
from moby.formats.fatgeometry import SECTOR_BYTES

SYSTEM = "ldlinux.sys"
MODULE = "ldlinux.c32"

_BOOT_SIGNATURE = b"\x55\xaa"
_START = _BOOT_SIGNATURE + b"\r\nSYSLINUX 6."
_OEM = b"SYSLINUX"
_ELF32 = b"\x7fELF\x01\x01\x01"
# ELF32 header: e_shoff, e_shentsize, e_shnum, at their offsets.
_ELF32_SECTIONS = struct.Struct("<32xI10xHH")
_MAGIC = 0x3EB202FE
# patch_area: magic, instance, data sectors, ADV sectors, dwords, checksum, most sectors in one transfer, place of the
# extended patch area.
_PATCH = struct.Struct("<IIHHIIHH")
_CHECKSUM_AT = 16
# ext_patch_area: places of the ADV pointers, directory, its length, subvolume, its length, extents, their number, the
# two halves of the first sector's number in the boot sector, RAID patch.
_EXTENDED = struct.Struct("<10H")
_EXTENT = struct.Struct("<QH")
_ADV_POINTERS = struct.Struct("<QQ")
_MAX_EXTENT = 0xFFFF
# syslxint.h and setadv.c: an empty ADV is head, checksum of nothing, zeros, tail; there are two of them.
_ADV = struct.pack("<II500xI", 0x5A2D2FA5, 0xA3041767, 0xDD28BF64)
# The installer leaves what describes the file system: all between the OEM name and the code, which is at the same place
# in all kinds of FAT.
_HEAD_END = 11
_CODE_START = BPB.size + HEAD32.size + TAIL16.size
_BACKUP_OFFSET = 6 * SECTOR_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader:
    """The parts of SYSLINUX: boot sector, ``ldlinux.sys`` without settings, ``ldlinux.c32``."""

    boot_sector: bytes
    system: bytes
    module: bytes

    @classmethod
    def extract(cls, program: bytes) -> Loader:
        """The parts as they are in the program ``syslinux`` 6. Raises ``IntegrityError`` when they are not found."""
        at = program.find(_START) + len(_BOOT_SIGNATURE)
        boot = program[max(0, at - SECTOR_BYTES) : at]
        if at < SECTOR_BYTES or boot[3:11] != _OEM:
            raise _strange("the program has no boot sector with ldlinux.sys of version 6 behind it")
        end = at + SECTOR_BYTES
        while not program.startswith(_ELF32, end):
            end += SECTOR_BYTES
            if end > len(program):
                raise _strange("there is no ldlinux.c32 behind ldlinux.sys")
        sections, entry_bytes, count = _ELF32_SECTIONS.unpack_from(program, end)
        module = program[end : end + sections + entry_bytes * count]
        if len(module) < sections + entry_bytes * count:
            raise _strange("ldlinux.c32 is cut off")
        return cls(boot_sector=boot, system=program[at:end], module=module)

    @property
    def files(self) -> Mapping[str, Content]:
        """What must be in the root of the file system."""
        return {SYSTEM: Content.of(self.system + 2 * _ADV), MODULE: Content.of(self.module)}

    def install(self, layout: Layout, out: BinaryIO, *, offset: int = 0) -> None:
        """Make ``layout``, which has the ``files`` and was written to ``out`` at ``offset``, start this loader.

        Raises ``ConfigError`` when the files are not there, and ``IntegrityError`` when this is not a SYSLINUX as we
        know it.
        """
        try:
            at = layout.offset(SYSTEM)
        except KeyError:
            raise ConfigError(f"there is no {SYSTEM} in the file system") from None
        system, boot = self._patched(at // SECTOR_BYTES)
        out.seek(offset + at)
        if out.read(len(self.system)) != self.system:
            raise ConfigError(f"the {SYSTEM} in the file system is another one")
        out.seek(offset + at)
        out.write(system)
        own = layout.boot_sector()
        boot = boot[:_HEAD_END] + own[_HEAD_END:_CODE_START] + boot[_CODE_START:]
        for place in (0, _BACKUP_OFFSET) if layout.geometry.kind is Kind.FAT32 else (0,):
            out.seek(offset + place)
            out.write(boot)

    def _patched(self, sector: int) -> tuple[bytes, bytes]:
        """``ldlinux.sys`` that lies from ``sector`` on, and the boot sector that starts it."""
        system, boot = bytearray(self.system), bytearray(self.boot_sector)
        sectors = len(system) // SECTOR_BYTES
        area, extended = self._areas()
        _, instance, _, _, _, _, transfer, extended_at = _PATCH.unpack_from(system, area)
        pointers, _, _, _, _, extents, extent_count, low, high, _ = extended
        list_end = extents + extent_count * _EXTENT.size
        runs = [
            (sector + start, min(_MAX_EXTENT, sectors - start)) for start in range(1, sectors, _MAX_EXTENT)
        ]  # the first is in the boot sector
        if len(runs) > extent_count or max(list_end, pointers + _ADV_POINTERS.size) > len(system):
            raise _strange("there is no room for its places in it")
        if max(low, high) + 4 > SECTOR_BYTES - 2 or min(low, high) < _CODE_START:
            raise _strange("the boot sector has no room for its place")
        boot[low : low + 4], boot[high : high + 4] = sector.to_bytes(4, "little"), bytes(4)
        system[extents:list_end] = b"".join(_EXTENT.pack(*run) for run in runs).ljust(list_end - extents, b"\0")
        _ADV_POINTERS.pack_into(system, pointers, sector + sectors, sector + sectors + 1)
        dwords = len(system) // 4
        _PATCH.pack_into(system, area, _MAGIC, instance, sectors, 2, dwords, 0, transfer, extended_at)
        total = sum(word for (word,) in struct.iter_unpack("<I", system))
        struct.pack_into("<I", system, area + _CHECKSUM_AT, _MAGIC - total & 0xFFFFFFFF)
        return bytes(system), bytes(boot)

    def _areas(self) -> tuple[int, tuple[int, ...]]:
        """Where the patch area is in ``ldlinux.sys``, and what the extended one says."""
        words = (at for at in range(0, min(len(self.system), SECTOR_BYTES) - _PATCH.size, 4))
        area = next((at for at in words if int.from_bytes(self.system[at : at + 4], "little") == _MAGIC), None)
        if area is None or len(self.system) % SECTOR_BYTES or len(self.boot_sector) != SECTOR_BYTES:
            raise _strange("there is no place for the installer in it")
        _, _, sectors, _, _, checksum, _, extended = _PATCH.unpack_from(self.system, area)
        if sectors or checksum:
            raise _strange("it was installed before")
        if extended + _EXTENDED.size > len(self.system):
            raise _strange("the extended patch area is not in it")
        return area, _EXTENDED.unpack_from(self.system, extended)


def _strange(what: str) -> IntegrityError:
    return IntegrityError(f"this is not SYSLINUX 6 as it can be installed here: {what}", where=SYSTEM)
