"""U-Boot's legacy images: a header of 64 bytes before what is to be loaded, with checksums of both.

Source: U-Boot ``include/image.h`` (``struct legacy_img_hdr``) and ``doc/mkimage.1``. All numbers are big-endian.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass, replace
from typing import BinaryIO

from moby.errors import ConfigError, IntegrityError

# magic, header CRC, time, size, load address, entry point, data CRC, operating system, architecture, type, compression,
# name.
_HEADER = struct.Struct(">7I4B32s")
HEADER_BYTES = _HEADER.size
_MAGIC = 0x27051956
_LINUX, _ARM64 = 5, 22
_CHUNK_BYTES = 1 << 20
_NAME_BYTES = 31


class Type(enum.IntEnum):
    """What U-Boot does with an image (``IH_TYPE_*``)."""

    KERNEL = 2
    RAMDISK = 3
    SCRIPT = 6


class Compression(enum.IntEnum):
    """How U-Boot has to unpack an image (``IH_COMP_*``)."""

    NONE = 0
    GZIP = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What an image is. ``size`` is that of what follows the header; ``load`` and ``entry`` are addresses."""

    type: Type
    size: int = 0
    checksum: int = 0
    compression: Compression = Compression.NONE
    load: int = 0
    entry: int = 0
    time_s: int = 0
    name: str = ""

    def pack(self) -> bytes:
        """The 64 bytes. Raises ``ConfigError`` when the image is too large or the name too long."""
        name = self.name.encode()
        if self.size >= 1 << 32 or len(name) > _NAME_BYTES:
            raise ConfigError(f"an image of {self.size} bytes, {self.name!r}, is too much for U-Boot's format")
        own = self._pack(0, name)
        return self._pack(zlib.crc32(own), name)

    def _pack(self, own_checksum: int, name: bytes) -> bytes:
        numbers = (self.time_s & 0xFFFFFFFF, self.size, self.load, self.entry, self.checksum)
        return _HEADER.pack(_MAGIC, own_checksum, *numbers, _LINUX, _ARM64, self.type, self.compression, name)


def write(data: BinaryIO, out: BinaryIO, header: Header) -> int:
    """Write ``data`` as an arm64 image and return its size; ``size`` and ``checksum`` of ``header`` are filled in.

    ``out`` must be seekable. Raises as ``Header.pack``.
    """
    start = out.tell()
    out.write(bytes(HEADER_BYTES))
    size = checksum = 0
    while chunk := data.read(_CHUNK_BYTES):
        checksum = zlib.crc32(chunk, checksum)
        size += len(chunk)
        out.write(chunk)
    out.seek(start)
    out.write(replace(header, size=size, checksum=checksum).pack())
    out.seek(start + HEADER_BYTES + size)
    return HEADER_BYTES + size


def script(text: bytes, *, time_s: int = 0, name: str = "") -> bytes:
    """A script that U-Boot runs: a list of the sizes of one part, then that part."""
    data = struct.pack(">II", len(text), 0) + text
    header = Header(type=Type.SCRIPT, size=len(data), checksum=zlib.crc32(data), time_s=time_s, name=name)
    return header.pack() + data


def begins(head: bytes) -> bool:
    """Whether an image begins like this."""
    return int.from_bytes(head[:4], "big") == _MAGIC


def read(stream: BinaryIO, *, where: str = "") -> Header:
    """The header of an image, whose checksums must be right. Raises ``IntegrityError``."""
    head = stream.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES or not begins(head):
        raise IntegrityError("this is no image of U-Boot", where=where)
    _, own, time_s, size, load, entry, checksum, _, _, kind, compression, name = _HEADER.unpack(head)
    if zlib.crc32(head[:4] + bytes(4) + head[8:]) != own:
        raise IntegrityError("the header has another checksum than it says", where=where)
    found = got = 0
    while got < size and (chunk := stream.read(min(_CHUNK_BYTES, size - got))):
        found, got = zlib.crc32(chunk, found), got + len(chunk)
    if (got, found) != (size, checksum):
        raise IntegrityError(f"expected {size} bytes of CRC {checksum:08x}, got {got} of {found:08x}", where=where)
    try:
        return Header(
            type=Type(kind),
            compression=Compression(compression),
            size=size,
            checksum=checksum,
            load=load,
            entry=entry,
            time_s=time_s,
            name=name.rstrip(b"\0").decode("ascii", "replace"),
        )
    except ValueError as error:
        raise IntegrityError(f"an image of an unknown kind: {error}", where=where) from error
