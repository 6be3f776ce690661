"""Squashfs 4.0 as it lies on a disk: superblock, flags and the structures of inodes and directories.

Sources: the kernel's Documentation/filesystems/squashfs.rst and fs/squashfs/squashfs_fs.h; "Squashfs Binary Format"
of squashfs-tools-ng. All numbers are little-endian; positions count from the start of the image.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from moby.errors import IntegrityError

MAGIC = b"hsqs"
SUPERBLOCK_BYTES = 96
METADATA_BYTES = 8192
PADDING_BYTES = 4096
MIN_BLOCK_BYTES = 4096
MAX_BLOCK_BYTES = 1 << 20

NONE_32 = 0xFFFFFFFF  # no fragment, no attributes
NONE_64 = 0xFFFFFFFFFFFFFFFF  # no such table
RAW_DATA = 1 << 24  # in the size word of a data block: stored as it is
RAW_METADATA = 1 << 15  # in the header of a metadata block
MAX_RUN = 256  # entries under one directory header
SIZE_EXTRA = 3  # a directory's size counts "." and ".." so
MAX_IDS = 65535
MAX_INDEX = 65535


class Compression(IntEnum):
    """The superblock's compression id."""

    GZIP = 1
    LZMA = 2
    LZO = 3
    XZ = 4
    LZ4 = 5
    ZSTD = 6


class Flag(IntEnum):
    """Superblock flags that mean something to a reader or to ``unsquashfs -s``."""

    RAW_INODES = 0x0001
    RAW_DATA = 0x0002
    RAW_FRAGMENTS = 0x0008
    ALWAYS_FRAGMENTS = 0x0020
    DUPLICATES = 0x0040
    EXPORT = 0x0080
    RAW_XATTRS = 0x0100
    NO_XATTRS = 0x0200
    OPTIONS = 0x0400
    RAW_IDS = 0x0800


class Type(IntEnum):
    """Inode types; the extended one of each is ``EXTENDED`` more."""

    DIRECTORY = 1
    FILE = 2
    SYMLINK = 3
    BLOCK = 4
    CHAR = 5
    FIFO = 6
    SOCKET = 7


EXTENDED = 7

# After the type: mode, uid and gid index, mtime; then the inode number.
HEAD = struct.Struct("<HHHHII")
# Basic: first block, fragment, offset in it, size. Extended: first block, size, sparse, links, fragment, offset, xattr.
BASIC_FILE = struct.Struct("<IIII")
FILE_EXTENDED = struct.Struct("<QQQIIII")
# Basic: block, links, size, offset, parent. Extended: links, size, block, parent, index entries, offset, xattr.
BASIC_DIRECTORY = struct.Struct("<IIHHI")
DIRECTORY_EXTENDED = struct.Struct("<IIIIHHI")
LINKS_SIZE = struct.Struct("<II")  # a symbolic link's links and size; a device's links and number
NUMBER = struct.Struct("<I")  # a fifo's links; any extended inode's xattr

RUN = struct.Struct("<III")  # a directory header: count less one, inode block, base inode number
DIRENT = struct.Struct("<HhHH")  # offset in the inode block, number from the base, type, name length less one
INDEX = struct.Struct("<III")  # offset in the listing, directory block, name length less one

FRAGMENT = struct.Struct("<QII")
XATTR_ID = struct.Struct("<QII")  # reference, count, size
XATTR_TABLE = struct.Struct("<QII")  # position of the pairs, count of ids, unused
XATTR_PREFIXES = ("user.", "trusted.", "security.")
XATTR_ELSEWHERE = 0x100

_SUPERBLOCK = struct.Struct("<4sIIIIHHHHHHQQQQQQQQ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Superblock:
    """The first 96 bytes. ``size_bytes`` is without the padding; positions that are ``NONE_64`` mean no table."""

    inodes: int
    time_s: int
    block_bytes: int
    fragments: int
    compression: int
    flags: int
    ids: int
    root: int
    size_bytes: int
    id_table: int
    xattr_table: int
    inode_table: int
    directory_table: int
    fragment_table: int
    export_table: int

    def encode(self) -> bytes:
        """The superblock as it is written."""
        return _SUPERBLOCK.pack(
            MAGIC,
            self.inodes,
            self.time_s,
            self.block_bytes,
            self.fragments,
            self.compression,
            self.block_bytes.bit_length() - 1,
            self.flags,
            self.ids,
            4,
            0,
            self.root,
            self.size_bytes,
            self.id_table,
            self.xattr_table,
            self.inode_table,
            self.directory_table,
            self.fragment_table,
            self.export_table,
        )

    @classmethod
    def decode(cls, data: bytes, *, where: str = "") -> Superblock:
        """What ``data`` says. ``IntegrityError`` when it is none of version 4.0 or contradicts itself."""
        if len(data) < SUPERBLOCK_BYTES or data[:4] != MAGIC:
            raise IntegrityError("this is not a squashfs image", where=where)
        fields = _SUPERBLOCK.unpack_from(data)
        major, minor, log = fields[9], fields[10], fields[6]
        if (major, minor) != (4, 0):
            raise IntegrityError(f"squashfs {major}.{minor} is not version 4.0", where=where)
        block_bytes = fields[3]
        if not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES or block_bytes != 1 << log:
            raise IntegrityError(f"a block size of {block_bytes} bytes (2^{log})", where=where)
        found = cls(
            inodes=fields[1],
            time_s=fields[2],
            block_bytes=block_bytes,
            fragments=fields[4],
            compression=fields[5],
            flags=fields[7],
            ids=fields[8],
            root=fields[11],
            size_bytes=fields[12],
            id_table=fields[13],
            xattr_table=fields[14],
            inode_table=fields[15],
            directory_table=fields[16],
            fragment_table=fields[17],
            export_table=fields[18],
        )
        if not SUPERBLOCK_BYTES <= found.inode_table <= found.directory_table <= found.size_bytes:
            raise IntegrityError("the tables are not in their order", where=where)
        return found


def device(major: int, minor: int) -> int:
    """A device number in the kernel's 32-bit encoding: 12 bits of major, 20 of minor."""
    if not 0 <= major <= 0xFFF or not 0 <= minor <= 0xFFFFF:
        raise IntegrityError(f"device {major}:{minor} is out of range")
    return minor & 0xFF | major << 8 | (minor & 0xFFF00) << 12


def device_parts(number: int) -> tuple[int, int]:
    """Major and minor of an encoded device number."""
    return number >> 8 & 0xFFF, number & 0xFF | number >> 12 & 0xFFF00
