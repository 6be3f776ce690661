"""Squashfs 4.0, the compressed read-only file system: images written and read as entry streams, without a tool.

``write`` packs blocks of 128 KiB on all CPUs, stores equal files once, and gives the same bytes for the same entries,
whatever the machine. Contents stand in the image in the order they came; inodes, numbers and listings follow the
names. ``read`` gives an image's entries back, also of images that other programs made.

Sources: see ``squashfs_layout``.
"""

from __future__ import annotations

from moby.formats.catalog import Statistics
from moby.formats.squashfs_layout import MAGIC, SUPERBLOCK_BYTES, Superblock
from moby.formats.squashfs_read import read
from moby.formats.squashfs_write import BLOCK_BYTES, write

__all__ = ["BLOCK_BYTES", "MAGIC", "SUPERBLOCK_BYTES", "Statistics", "Superblock", "read", "write"]
