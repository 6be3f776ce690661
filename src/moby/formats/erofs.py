"""EROFS, the read-only file system whose files are mapped as they lie: images written and read as entry streams.

``write`` makes uncompressed images of 4 KiB blocks: whole blocks of equal files once, tails beside their inodes.
Contents and inodes stand in the image in the order they came, directories follow the names; the same entries give the
same bytes. ``read`` gives an image's entries back, also of images that other programs made, unless compressed.

Sources: see ``erofs_layout``.
"""

from __future__ import annotations

from moby.formats.catalog import Statistics
from moby.formats.erofs_layout import MAGIC, SUPERBLOCK_BYTES, SUPERBLOCK_OFFSET, Superblock
from moby.formats.erofs_read import read
from moby.formats.erofs_write import write

__all__ = ["MAGIC", "SUPERBLOCK_BYTES", "SUPERBLOCK_OFFSET", "Statistics", "Superblock", "read", "write"]
