"""Disk images as Google Compute Engine imports them: a tar of the sparse file ``disk.raw``, packed with gzip.

The file is an old-GNU sparse member, which is what ``tar --format=oldgnu -Sczf`` makes of it and what Google asks for:
only the parts with data are in the archive, their places are in its header. The size is a whole number of GiB.

Sources: Google, "Manually import boot disks", "Compress the image file"; GNU tar manual, appendix "Tar Internals",
"Old GNU Format" and "Old GNU sparse format".
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from moby.formats import sparse
from moby.formats.compress import Codec, compressor
from moby.formats.sparse import CHUNK_BYTES

NAME = b"disk.raw"
GIB = 1 << 30
_BLOCK_BYTES = 512
_DATA_BYTES = 1 << 16
# Name, mode, uid, gid, size, mtime, checksum, type, link, magic, owner, group, device, times and more, four sparse
# entries, whether more follow, real size.
_HEADER = struct.Struct("<100s8s8s8s12s12s8ss100s8s32s32s16s41s96sB12s17x")
_CHECKSUM_AT = 148
_SPARSE, _MAGIC = b"S", b"ustar  \0"
_FIRST, _MORE = 4, 21  # sparse entries in the header, and in each block after it


def write(disk: BinaryIO, out: BinaryIO, *, time_s: int = 0) -> None:
    """Write the raw ``disk``, filled up to whole GiB, to ``out``, which need not seek.

    ``time_s`` is the file's modification time in seconds since 1970.
    """
    size = max(1, -(-sparse.size_of(disk) // GIB)) * GIB
    parts = _parts(disk)
    with compressor(Codec.GZIP, out) as packed:
        packed.write(_headers([*parts, (size, 0)], size, time_s))
        for start, length in parts:
            disk.seek(start)
            for at in range(0, length, CHUNK_BYTES):
                step = min(CHUNK_BYTES, length - at)
                packed.write(disk.read(step).ljust(step, b"\0"))
        packed.write(bytes(2 * _BLOCK_BYTES))


def _parts(disk: BinaryIO) -> list[tuple[int, int]]:
    """Start and length of what is not zero, in order."""
    made: list[tuple[int, int]] = []
    for number, _ in sparse.blocks(disk, _DATA_BYTES):
        start = number * _DATA_BYTES
        if made and sum(made[-1]) == start:
            made[-1] = made[-1][0], made[-1][1] + _DATA_BYTES
        else:
            made.append((start, _DATA_BYTES))
    return made


def _headers(parts: list[tuple[int, int]], size: int, time_s: int) -> bytes:
    """The header and as many blocks behind it as the places of the parts take."""
    first, rest = parts[:_FIRST], parts[_FIRST:]
    raw = _HEADER.pack(
        NAME,
        _number(0o644, 8),
        _number(0, 8),
        _number(0, 8),
        _number(sum(length for _, length in parts), 12),
        _number(time_s, 12),
        b" " * 8,
        _SPARSE,
        b"",
        _MAGIC,
        b"",
        b"",
        b"",
        b"",
        _places(first),
        bool(rest),
        _number(size, 12),
    )
    checksum = b"%06o\0 " % sum(raw)
    blocks = [raw[:_CHECKSUM_AT] + checksum + raw[_CHECKSUM_AT + 8 :]]
    for start in range(0, len(rest), _MORE):
        more = b"\1" if len(rest) > start + _MORE else b"\0"
        blocks.append((_places(rest[start : start + _MORE]).ljust(24 * _MORE, b"\0") + more).ljust(_BLOCK_BYTES, b"\0"))
    return b"".join(blocks)


def _places(parts: list[tuple[int, int]]) -> bytes:
    return b"".join(_number(start, 12) + _number(length, 12) for start, length in parts)


def _number(value: int, width: int) -> bytes:
    """Octal digits, or what GNU tar writes where they do not suffice: a set bit, then the number in binary."""
    if value < 8 ** (width - 1):
        return b"%0*o\0" % (width - 1, value)
    return b"\x80" + value.to_bytes(width - 1, "big")
