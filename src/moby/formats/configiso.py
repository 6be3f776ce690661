"""The ISO 9660 image that hands data to a guest: one file, ``config``, and nothing else.

Layout in sectors of 2048 bytes (ECMA-119): 0-15 zero, 16 primary volume descriptor, 17 terminator, 18 and 19 the path
table in both byte orders, 20 the root directory, 21 the data. The name is lower case and has no version, as guests that
look for it expect. Times are zero: the same data gives the same bytes.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from moby.errors import ConfigError

SECTOR = 2048
_PATH_TABLE_LE, _PATH_TABLE_BE, _ROOT, _DATA = 18, 19, 20, 21
_PATH_TABLE = 10  # one record: the root
_SIZE_LIMIT = 2**32 - 1  # a file section's length is 32 bits wide (ECMA-119 9.1.4)


def write(data: bytes, out: BinaryIO, *, volume: str = "config", name: str = "config") -> int:
    """Write an image that holds ``data`` as the file ``name``, and return its length in bytes.

    Raises ``ConfigError`` when the data does not fit one file section or a name is too long.
    """
    if len(data) > _SIZE_LIMIT or len(volume) > 32 or len(name) > 30:
        raise ConfigError("does not fit a configuration ISO", fix="give at most 4 GiB of data and short names")
    data_sectors = -(-len(data) // SECTOR)
    out.write(bytes(16 * SECTOR))
    out.write(_volume_descriptor(volume, _DATA + data_sectors))
    out.write(_sector(b"\xffCD001\x01"))
    for order in "<>":
        out.write(_sector(struct.pack(f"{order}BBIH2s", 1, 0, _ROOT, 1, b"\0")))
    records = _record(b"\0", _ROOT, SECTOR, directory=True), _record(b"\1", _ROOT, SECTOR, directory=True)
    out.write(_sector(b"".join(records) + _record(name.encode("ascii"), _DATA, len(data), directory=False)))
    out.write(data.ljust(data_sectors * SECTOR, b"\0"))
    return (_DATA + data_sectors) * SECTOR


def _volume_descriptor(volume: str, sectors: int) -> bytes:
    """ECMA-119 8.4: text fields are filled with spaces, unused times with '0' and a zero byte."""
    head = b"\x01CD001\x01\0" + b" " * 32 + volume.encode("ascii").ljust(32) + bytes(8) + _both32(sectors) + bytes(32)
    sizes = _both16(1) + _both16(1) + _both16(SECTOR) + _both32(_PATH_TABLE)
    tables = struct.pack("<II", _PATH_TABLE_LE, 0) + struct.pack(">II", _PATH_TABLE_BE, 0)
    names = b" " * (4 * 128 + 3 * 37)
    times = (b"0" * 16 + b"\0") * 4
    return _sector(head + sizes + tables + _record(b"\0", _ROOT, SECTOR, directory=True) + names + times + b"\x01")


def _record(identifier: bytes, sector: int, length: int, *, directory: bool) -> bytes:
    """A directory record (ECMA-119 9.1), of even length."""
    size = 33 + len(identifier) + (len(identifier) + 1) % 2
    head = struct.pack("BB", size, 0) + _both32(sector) + _both32(length) + bytes(7)
    flags = struct.pack("BBB", 2 if directory else 0, 0, 0) + _both16(1)
    return (head + flags + struct.pack("B", len(identifier)) + identifier).ljust(size, b"\0")


def _both16(value: int) -> bytes:
    return struct.pack("<H", value) + struct.pack(">H", value)


def _both32(value: int) -> bytes:
    return struct.pack("<I", value) + struct.pack(">I", value)


def _sector(content: bytes) -> bytes:
    return content.ljust(SECTOR, b"\0")
