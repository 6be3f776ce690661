"""Writing squashfs images: see ``squashfs``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.catalog import Catalog, Statistics
from moby.formats.compress import Codec
from moby.formats.entry import FILE, HARDLINK, SYMLINK, Entry, directory
from moby.formats.squashfs_blocks import Blocks, default_level, packer
from moby.formats.squashfs_files import Files
from moby.formats.squashfs_inodes import Inodes, facts, file_facts
from moby.formats.squashfs_layout import (
    MAX_BLOCK_BYTES,
    MIN_BLOCK_BYTES,
    NONE_32,
    NONE_64,
    PADDING_BYTES,
    RAW_METADATA,
    SUPERBLOCK_BYTES,
    Compression,
    Flag,
    Superblock,
)
from moby.formats.squashfs_metadata import Ids, Metadata, Xattrs, table

BLOCK_BYTES = 128 << 10

_MOST_THREADS = 4  # entries do not come faster than so many pack them, and each has blocks in memory
_TARGET_BYTES = 4095
# Nothing is packed under NONE, but a reader wants a name it knows; every kernel has gzip.
_COMPRESSIONS = {Codec.ZSTD: Compression.ZSTD, Codec.GZIP: Compression.GZIP, Codec.NONE: Compression.GZIP}
_RAW = Flag.RAW_INODES | Flag.RAW_DATA | Flag.RAW_FRAGMENTS | Flag.RAW_XATTRS | Flag.RAW_IDS


def write(
    entries: Iterable[Entry],
    out: BinaryIO,
    *,
    codec: Codec = Codec.ZSTD,
    level: int | None = None,
    block_bytes: int = BLOCK_BYTES,
    time_s: int = 0,
    threads: int | None = None,
    export: bool = True,
) -> Statistics:
    """Write an image to ``out`` from its position on; ``out`` must be seekable and readable, and ends after the image.

    Entries may come in any order (a hard link after its file); of two with one path the later wins, and directories
    that nobody names are made, root's, 0755, of ``time_s``, which is also the image's time. ``level`` is the codec's,
    None its usual one. ``threads`` (None: one for each CPU, up to four) do not change a byte. ``export`` adds the table
    that NFS and overlays with ``index=on`` need.

    Raises ``IntegrityError`` for what the format cannot hold: attributes outside of ``user.``, ``trusted.`` and
    ``security.``, more than 65,535 owners, names above 255 bytes; and for contents that are not as long as announced.
    """
    if not MIN_BLOCK_BYTES <= block_bytes <= MAX_BLOCK_BYTES or block_bytes & (block_bytes - 1):
        raise ValueError(f"{block_bytes} is no power of two from {MIN_BLOCK_BYTES} to {MAX_BLOCK_BYTES}")
    chosen = default_level(codec) if level is None else level
    options = _options(codec, chosen)
    base = out.tell()
    out.write(bytes(SUPERBLOCK_BYTES) + options)
    position = SUPERBLOCK_BYTES + len(options)
    with Blocks(
        out, position, codec=codec, level=chosen, threads=threads or min(os.cpu_count() or 1, _MOST_THREADS)
    ) as blocks:
        image = _Image(Files(blocks, block_bytes), codec, chosen, time_s)
        image.take(entries)
    superblock = image.write(out, export=export)
    _close(out, base, superblock)
    blocks.cut()
    return Statistics(
        size_bytes=out.tell() - base,
        inodes=superblock.inodes,
        data_bytes=image.data_bytes,
        duplicates=image.files.duplicates,
        duplicate_bytes=image.files.duplicate_bytes,
    )


class _Image:
    """An image being made: first all entries, then the tables."""

    def __init__(self, files: Files, codec: Codec, level: int, time_s: int) -> None:
        self.files = files
        self.data_bytes = 0
        self._codec = codec
        self._pack = packer(codec, level)
        self._time_s = min(max(time_s, 0), NONE_32)
        self._xattrs = Xattrs(self._pack)
        made = directory("", mtime_s=self._time_s)
        self._catalog = Catalog(facts(made, xattr=NONE_32))

    def take(self, entries: Iterable[Entry]) -> None:
        """Write all contents and note all names."""
        files, catalog, xattrs = self.files, self._catalog, self._xattrs
        for entry in entries:
            kind = entry.kind
            if kind is HARDLINK:
                catalog.link(entry.path, entry.target)
                continue
            xattr = xattrs.number(entry) if entry.xattrs else NONE_32
            if kind is FILE:
                number = files.add(entry)
                self.data_bytes += entry.size
                catalog.add(entry.path, kind, file_facts(entry, xattr, number))
                continue
            if kind is SYMLINK:
                _check_target(entry)
            catalog.add(entry.path, kind, facts(entry, xattr=xattr))
        files.finish()

    def write(self, out: BinaryIO, *, export: bool) -> Superblock:
        """Write the tables after the contents; the superblock that names them."""
        blocks, pack = self.files.blocks, self._pack
        inode_table = blocks.position
        inodes = Metadata(out.write, pack)
        listings = bytearray()
        directories = Metadata(listings.extend, pack)
        ids = Ids()
        made = Inodes(self.files, ids, inodes, directories)
        made.write(self._catalog.walk())
        directory_table = position = inode_table + inodes.end()
        position += directories.end()
        out.write(listings)
        fragment_table, export_table = NONE_64, NONE_64
        if blocks.fragments:
            fragment_table, position = table(out, position, blocks.fragments, pack)
        if export:
            export_table, position = table(out, position, made.encode_references(), pack)
        id_table, position = table(out, position, ids.encode(), pack)
        xattr_table, position = self._xattrs.write(out, position)
        return Superblock(
            inodes=len(made.references),
            time_s=self._time_s,
            block_bytes=self.files.block_bytes,
            fragments=len(blocks.fragments) // 16,
            compression=_COMPRESSIONS[self._codec],
            flags=self._flags(xattr_table != NONE_64, export=export),
            ids=len(ids),
            root=made.root,
            size_bytes=position,
            id_table=id_table,
            xattr_table=xattr_table,
            inode_table=inode_table,
            directory_table=directory_table,
            fragment_table=fragment_table,
            export_table=export_table,
        )

    def _flags(self, xattrs: bool, *, export: bool) -> int:
        flags = int(Flag.ALWAYS_FRAGMENTS | Flag.DUPLICATES)
        flags |= _RAW if self._codec is Codec.NONE else Flag.OPTIONS
        return flags | (Flag.EXPORT if export else 0) | (0 if xattrs else Flag.NO_XATTRS)


def _check_target(entry: Entry) -> None:
    size = len(entry.target.encode("utf-8", "surrogateescape"))
    if not 0 < size <= _TARGET_BYTES or "\0" in entry.target:
        raise IntegrityError(f"a link target of {size} bytes, or with a NUL", where=entry.path)


def _options(codec: Codec, level: int) -> bytes:
    """The compressor's options, an unpacked metadata block after the superblock: they say the level."""
    if codec is Codec.NONE:
        return b""
    # gzip: also the window, 15 bits, and no strategies
    data = level.to_bytes(4, "little") + (b"\x0f\0\0\0" if codec is Codec.GZIP else b"")
    return (len(data) | RAW_METADATA).to_bytes(2, "little") + data


def _close(out: BinaryIO, base: int, superblock: Superblock) -> None:
    """Pad the image, and write the superblock in front."""
    out.write(bytes(-superblock.size_bytes % PADDING_BYTES))
    end = out.tell()
    out.seek(base)
    out.write(superblock.encode())
    out.seek(end)
