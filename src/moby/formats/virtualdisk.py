"""The disk inside of a virtual disk file (qcow2, VHD, VHDX, VMDK), as a stream to read from.

Only what a complete image of its own needs is understood: no backing files, no encryption, no logs to be replayed.
Sources: QEMU ``docs/interop/qcow2.rst``; Microsoft, "Virtual Hard Disk Image Format Specification" 1.0; [MS-VHDX] 9.0;
VMware, "Virtual Disk Format 5.0".
"""

from __future__ import annotations

import io
import struct
import uuid
import zlib
from array import array
from collections.abc import Callable
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.window import blocks, mapped, window

_SECTOR_BYTES = 512
_MAX_TABLE_BYTES = 64 << 20
_MAX_PLACE = 1 << 62
_VHD_COOKIE = b"conectix"
_VHD_UNUSED = 0xFFFFFFFF
_VHDX_PRESENT = 6
_VHDX_REGIONS_AT = 192 << 10
_VHDX_TABLE = uuid.UUID("2dc27766-f623-4200-9d64-115e9bfd4a08")
_VHDX_METADATA = uuid.UUID("8b7ca206-4790-4b9a-b8fe-575f050f886e")
_VHDX_PARAMETERS = uuid.UUID("caa16737-fa36-4d43-b3b6-33f0aa44e76b")
_VHDX_SIZE = uuid.UUID("2fa54224-cd1b-4876-b211-5dbed83bf4b8")
_VMDK_AT_END = 0xFFFFFFFFFFFFFFFF
_VMDK_COMPRESSED = 1 << 16
_VMDK_HEADER = struct.Struct("<4sIIQQQQIQQQ")


def identify(stream: BinaryIO) -> str:
    """``qcow2``, ``vhd``, ``vhdx`` or ``vmdk``; empty for something else."""
    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    head = stream.read(8)
    for magic, name in ((b"QFI\xfb", "qcow2"), (b"vhdxfile", "vhdx"), (b"KDMV", "vmdk"), (_VHD_COOKIE, "vhd")):
        if head.startswith(magic):
            return name
    stream.seek(max(0, end - _SECTOR_BYTES))
    return "vhd" if end >= 2 * _SECTOR_BYTES and stream.read(8) == _VHD_COOKIE else ""


def open_disk(stream: BinaryIO) -> BinaryIO:
    """The disk in a seekable stream that ``identify`` knows. Raises ``IntegrityError`` when it makes no sense."""
    try:
        return _OPENERS[identify(stream)](stream)
    except (struct.error, KeyError) as error:
        raise IntegrityError("the virtual disk is broken or truncated") from error


def _read(stream: BinaryIO, at: int, count: int) -> bytes:
    """Exactly ``count`` bytes."""
    if count > _MAX_TABLE_BYTES:
        raise IntegrityError(f"a table of {count} bytes in a virtual disk")
    data = _some(stream, at, count)
    if len(data) < count:
        raise IntegrityError("the virtual disk is truncated")
    return data


def _some(stream: BinaryIO, at: int, count: int) -> bytes:
    """Up to ``count`` bytes."""
    if not 0 <= at < _MAX_PLACE:
        raise IntegrityError(f"a place of the virtual disk is at byte {at}")
    stream.seek(at)
    return stream.read(count)


def _table(code: str, data: bytes, *, big_endian: bool) -> array[int]:
    values = array(code, data)
    if big_endian == (struct.pack("=H", 1) == b"\1\0"):
        values.byteswap()
    return values


def _qcow2(stream: BinaryIO) -> BinaryIO:
    version, backing, _, bits, size, crypt, l1_count, l1_at = struct.unpack(">IQIIQIIQ", _read(stream, 4, 44))
    features = struct.unpack(">Q", _read(stream, 72, 8))[0] if version >= 3 else 0
    if version not in (2, 3) or backing or crypt or features & ~3 or not 9 <= bits <= 21:
        raise IntegrityError("a qcow2 image of a kind that is not read (backing file, encryption, …)")
    cluster, l2_count = 1 << bits, 1 << (bits - 3)
    l1 = _table("Q", _read(stream, l1_at, 8 * l1_count), big_endian=True)
    mask = (1 << 56) - 512
    known: dict[int, array[int]] = {}

    def block(number: int) -> bytes | None:
        first, second = divmod(number, l2_count)
        at = l1[first] & mask if first < len(l1) else 0
        if not at:
            return None
        if at not in known:
            known.clear()
            known[at] = _table("Q", _read(stream, at, cluster), big_endian=True)
        entry = known[at][second]
        if entry >> 62 & 1:
            shift = 62 - (bits - 8)
            place, sectors = entry & ((1 << shift) - 1), (entry & ((1 << 62) - 1)) >> shift
            packed = _some(stream, place, (sectors + 1) * _SECTOR_BYTES - place % _SECTOR_BYTES)
            return _inflated(packed, -12, cluster)
        if entry & 1 or not entry & mask:
            return None
        return _some(stream, entry & mask, cluster).ljust(cluster, b"\0")

    return blocks(size, cluster, block)


def _inflated(data: bytes, window_bits: int, size: int) -> bytes:
    try:
        return zlib.decompressobj(window_bits).decompress(data, size).ljust(size, b"\0")
    except zlib.error as error:
        raise IntegrityError(f"a packed block of the virtual disk is broken: {error}") from error


def _vhd(stream: BinaryIO) -> BinaryIO:
    end = stream.seek(0, io.SEEK_END)
    footer = _read(stream, end - _SECTOR_BYTES, _SECTOR_BYTES)
    at, size, kind = *struct.unpack_from(">Q", footer, 16), *struct.unpack_from(">Q4xI", footer, 48)
    if kind == 2:
        return window(stream, 0, size)
    header = _read(stream, at, 1024)
    if kind != 3 or not header.startswith(b"cxsparse"):
        raise IntegrityError("a VHD of a kind that is not read")
    table_at, _, count, block_bytes = struct.unpack_from(">QIII", header, 16)
    if not _SECTOR_BYTES <= block_bytes <= 1 << 28 or block_bytes % _SECTOR_BYTES:
        raise IntegrityError(f"a VHD with blocks of {block_bytes} bytes")
    table = _table("I", _read(stream, table_at, 4 * count), big_endian=True)
    bitmap = -(-block_bytes // _SECTOR_BYTES // 8 // _SECTOR_BYTES) * _SECTOR_BYTES

    def place(number: int) -> int | None:
        sector = table[number] if number < len(table) else _VHD_UNUSED
        return None if sector == _VHD_UNUSED else sector * _SECTOR_BYTES + bitmap

    return mapped(stream, size, block_bytes, place)


def _vhdx(stream: BinaryIO) -> BinaryIO:
    regions = _vhdx_entries(_read(stream, _VHDX_REGIONS_AT, 64 << 10), head="<4x4xI4x", entry="<16sQII")
    table_at, table_bytes = regions[_VHDX_TABLE]
    metadata_at, _ = regions[_VHDX_METADATA]
    items = _vhdx_entries(_read(stream, metadata_at, 64 << 10), head="<8x2xH20x", entry="<16sII4x4x")
    (block_bytes,) = struct.unpack("<I", _read(stream, metadata_at + items[_VHDX_PARAMETERS][0], 4))
    (size,) = struct.unpack("<Q", _read(stream, metadata_at + items[_VHDX_SIZE][0], 8))
    if not 1 << 20 <= block_bytes <= 256 << 20 or block_bytes & (block_bytes - 1):
        raise IntegrityError(f"a VHDX with blocks of {block_bytes} bytes")
    table = _table("Q", _read(stream, table_at, table_bytes), big_endian=False)
    ratio = (_SECTOR_BYTES << 23) // block_bytes

    def place(number: int) -> int | None:
        index = number + number // ratio
        entry = table[index] if index < len(table) else 0
        return (entry >> 20 << 20) & (_MAX_PLACE - 1) if entry & 7 == _VHDX_PRESENT else None

    return mapped(stream, size, block_bytes, place)


def _vhdx_entries(data: bytes, *, head: str, entry: str) -> dict[uuid.UUID, tuple[int, int]]:
    """Offset and length by id, of a region or metadata table."""
    (count,) = struct.unpack_from(head, data)
    row, start = struct.Struct(entry), 16 if entry.endswith("QII") else 32
    found = {}
    for index in range(min(count, 2047)):
        name, offset, length = row.unpack_from(data, start + index * row.size)[:3]
        found[uuid.UUID(bytes_le=name)] = offset, length
    return found


def _vmdk(stream: BinaryIO) -> BinaryIO:
    header = _VMDK_HEADER.unpack(_read(stream, 0, _VMDK_HEADER.size))
    if header[9] == _VMDK_AT_END:
        end = stream.seek(0, io.SEEK_END)
        header = _VMDK_HEADER.unpack(_read(stream, end - 2 * _SECTOR_BYTES, _VMDK_HEADER.size))
    magic, _, flags, capacity, grain_sectors, _, _, per_table, _, directory_at, _ = header
    if magic != b"KDMV" or not 1 <= grain_sectors <= 4096 or not 1 <= per_table <= 1 << 16:
        raise IntegrityError("a VMDK of a kind that is not read")
    grain = grain_sectors * _SECTOR_BYTES
    tables = -(-capacity // (grain_sectors * per_table))
    directory = _table("I", _read(stream, directory_at * _SECTOR_BYTES, 4 * tables), big_endian=False)
    known: dict[int, array[int]] = {}

    def block(number: int) -> bytes | None:
        first, second = divmod(number, per_table)
        at = directory[first] if first < len(directory) else 0
        if not at:
            return None
        if at not in known:
            known.clear()
            known[at] = _table("I", _read(stream, at * _SECTOR_BYTES, 4 * per_table), big_endian=False)
        sector = known[at][second]
        if sector in (0, 1):
            return None
        if not flags & _VMDK_COMPRESSED:
            return _read(stream, sector * _SECTOR_BYTES, grain)
        (packed,) = struct.unpack("<8xI", _read(stream, sector * _SECTOR_BYTES, 12))
        return _inflated(stream.read(min(packed, 2 * grain)), 15, grain)

    return blocks(capacity * _SECTOR_BYTES, grain, block)


_OPENERS: dict[str, Callable[[BinaryIO], BinaryIO]] = {"qcow2": _qcow2, "vhd": _vhd, "vhdx": _vhdx, "vmdk": _vmdk}
