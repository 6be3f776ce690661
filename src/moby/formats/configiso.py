"""The ISO 9660 image that hands data to a guest: one file, ``config``, and nothing else.

Layout in sectors of 2048 bytes (ECMA-119): 0-15 zero, 16 primary volume descriptor, 17 terminator, 18 and 19 the path
table in both byte orders, 20 the root directory, 21 the data. The name is lower case and has no version, as guests that
look for it expect. All times are the start of 1970: the same data gives the same bytes.
"""

from __future__ import annotations

from typing import BinaryIO

from moby.errors import ConfigError
from moby.formats import iso9660_records as records
from moby.formats.iso9660_records import DIRECTORY, PARENT, SECTOR, SELF, SYSTEM_AREA, Volume

__all__ = ["SECTOR", "write"]

_PATH_TABLE_LE, _PATH_TABLE_BE, _ROOT, _DATA = 18, 19, 20, 21
_PATH_TABLE = 10  # one record: the root
_SIZE_LIMIT = 2**32 - 1  # a file section's length is 32 bits wide (ECMA-119 9.1.4)


def write(data: bytes, out: BinaryIO, *, volume: str = "config", name: str = "config") -> int:
    """Write an image that holds ``data`` as the file ``name``, and return its length in bytes.

    Raises ``ConfigError`` when the data does not fit one file section or a name is too long.
    """
    if len(data) > _SIZE_LIMIT or len(volume) > 32 or len(name) > 30:
        raise ConfigError("does not fit a configuration ISO", fix="give at most 4 GiB of data and short names")
    end = _DATA + records.sectors(len(data))
    descriptor = Volume(
        name=volume,
        sectors=end,
        table_size=_PATH_TABLE,
        table_little=_PATH_TABLE_LE,
        table_big=_PATH_TABLE_BE,
        root=_ROOT,
        root_size=SECTOR,
        time_s=0,
    )
    out.write(bytes(SYSTEM_AREA * SECTOR))
    out.write(descriptor.primary() + records.terminator())
    for order in "<>":
        out.write(records.padded(records.path_table([(SELF, _ROOT, 1)], order)))
    root = [records.directory_record(each, _ROOT, SECTOR, flags=DIRECTORY, time_s=0) for each in (SELF, PARENT)]
    file = records.directory_record(name.encode("ascii"), _DATA, len(data), flags=0, time_s=0)
    out.write(records.padded(records.pack([*root, file])))
    out.write(records.padded(data))
    return end * SECTOR
