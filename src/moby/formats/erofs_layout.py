"""EROFS as it lies on a disk: superblock, inodes, directory blocks and attributes.

Sources: the kernel's Documentation/filesystems/erofs.rst and fs/erofs/erofs_fs.h. All numbers are little-endian. An
inode is found at 32 bytes times its number, from the block that the superblock names.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from moby.errors import IntegrityError
from moby.formats.crc32c import crc32c
from moby.formats.entry import Kind

MAGIC = 0xE0F5E1E2
SUPERBLOCK_OFFSET = 1024
SUPERBLOCK_BYTES = 128
BLOCK_BYTES = 4096
SLOT_BYTES = 32  # an inode begins at a multiple of it
NULL_BLOCK = 0xFFFFFFFF  # a hole, in a chunk map

COMPAT_CHECKSUM = 0x1
COMPAT_MTIME = 0x2
# What does not matter to whoever reads uncompressed files only: zero padding, compressor settings, chunks.
INCOMPAT_KNOWN = 0x1 | 0x2 | 0x4


class Layout(IntEnum):
    """Where an inode's data is."""

    PLAIN = 0
    COMPRESSED_FULL = 1
    INLINE = 2  # whole blocks elsewhere, the tail after the inode
    COMPRESSED_COMPACT = 3
    CHUNKED = 4


# Format, attribute count, mode, links, size, block or device, number, uid, gid.
COMPACT = struct.Struct("<HHHHI4xIIHH4x")
COMPACT_LINKS = struct.Struct("<H"), 6  # and its offset in the inode
# Format, attribute count, mode, size, block or device, number, uid, gid, mtime, nanoseconds, links.
EXTENDED = struct.Struct("<HHH2xQIIIIQII16x")
EXTENDED_LINKS = struct.Struct("<I"), 44
DIRENT = struct.Struct("<QHBx")

XATTR_HEADER_BYTES = 12  # name filter, count of shared ones, reserved
XATTR = struct.Struct("<BBH")  # length of the name, prefix, size of the value
# Longest first: the access control lists are names of their own.
XATTR_PREFIXES = {
    2: "system.posix_acl_access",
    3: "system.posix_acl_default",
    1: "user.",
    4: "trusted.",
    6: "security.",
}

TYPES = {
    Kind.FILE: 1,
    Kind.DIRECTORY: 2,
    Kind.CHAR: 3,
    Kind.BLOCK: 4,
    Kind.FIFO: 5,
    Kind.SYMLINK: 7,
}

# Magic, checksum, compatible features, block bits, extension slots, root, inodes, time, nanoseconds, blocks, metadata
# block, attribute block, UUID, volume name, incompatible features, compressors, devices, their table, directory bits.
_SUPERBLOCK = struct.Struct("<IIIBBHQQIIII16s16sIHHHB37x")


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """The 128 bytes at ``SUPERBLOCK_OFFSET``. ``root`` is the root's inode number."""

    uuid: UUID
    root: int
    inodes: int
    time_s: int
    blocks: int
    block_bytes: int = BLOCK_BYTES
    meta_block: int = 0
    xattr_block: int = 0
    compatible: int = COMPAT_CHECKSUM | COMPAT_MTIME
    incompatible: int = 0
    volume_name: str = ""

    def encode(self) -> bytes:
        """The superblock without its checksum, which is of the whole block: see ``checksum``."""
        return _SUPERBLOCK.pack(
            MAGIC,
            0,
            self.compatible,
            self.block_bytes.bit_length() - 1,
            0,
            self.root,
            self.inodes,
            self.time_s,
            0,
            self.blocks,
            self.meta_block,
            self.xattr_block,
            self.uuid.bytes,
            self.volume_name.encode(),
            self.incompatible,
            0,
            0,
            0,
            0,
        )

    @classmethod
    def decode(cls, data: bytes, *, where: str = "") -> Superblock:
        """What ``data`` says. ``IntegrityError`` when it is no superblock, or of features that are not read here."""
        if len(data) < SUPERBLOCK_BYTES:
            raise IntegrityError("this is not an EROFS image", where=where)
        fields = _SUPERBLOCK.unpack_from(data)
        if fields[0] != MAGIC:
            raise IntegrityError("this is not an EROFS image", where=where)
        bits, incompatible, devices, directory_bits = fields[3], fields[14], fields[16], fields[18]
        if not 9 <= bits <= 16 or directory_bits:
            raise IntegrityError(f"blocks of 2^{bits} bytes, directories of 2^{directory_bits}", where=where)
        if incompatible & ~INCOMPAT_KNOWN or devices:
            raise IntegrityError(f"EROFS features {incompatible:#x}, {devices} more devices", where=where)
        return cls(
            uuid=UUID(bytes=fields[12]),
            root=fields[5],
            inodes=fields[6],
            time_s=fields[7],
            blocks=fields[9],
            block_bytes=1 << bits,
            meta_block=fields[10],
            xattr_block=fields[11],
            compatible=fields[2],
            incompatible=incompatible,
            volume_name=fields[13].rstrip(b"\0").decode("utf-8", "replace"),
        )


def checksum(block: bytes | bytearray) -> bytes:
    """The checksum of a superblock and the rest of its block: four bytes, which count as zero, from its fourth on.

    It is CRC-32C as Linux computes it, without the inversion at the end.
    """
    crc = crc32c(b"%b\0\0\0\0%b" % (bytes(block[:4]), bytes(block[8:])))
    return (crc ^ 0xFFFFFFFF).to_bytes(4, "little")


def encode_xattrs(xattrs: Iterable[tuple[str, bytes]], where: str) -> bytes:
    """Attributes as they follow an inode, ``b""`` for none. ``IntegrityError`` for what they cannot hold."""
    pairs = b"".join(_xattr(name, value, where) for name, value in sorted(xattrs))
    if len(pairs) > 0xFFFF:
        raise IntegrityError(f"attributes of {len(pairs)} bytes", where=where)
    return bytes(XATTR_HEADER_BYTES) + pairs if pairs else b""


def xattr_count(size: int) -> int:
    """What an inode says of attributes that take ``size`` bytes."""
    return (size - XATTR_HEADER_BYTES) // 4 + 1 if size else 0


def _xattr(name: str, value: bytes, where: str) -> bytes:
    for number, prefix in XATTR_PREFIXES.items():
        if name == prefix if prefix[-1] != "." else name.startswith(prefix) and name != prefix:
            rest = name[len(prefix) :].encode("utf-8", "surrogateescape")
            if len(rest) > 255 or len(value) > 0xFFFF:
                raise IntegrityError(f"attribute {name} is too large", where=where)
            record = XATTR.pack(len(rest), number, len(value)) + rest + value
            return record + bytes(-len(record) % 4)
    raise IntegrityError(f"EROFS cannot hold the attribute {name}", where=where, fix="remove it from the image")
