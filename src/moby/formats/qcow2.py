"""QEMU's copy-on-write disk images, version 3, written front to back from a raw disk.

Only clusters that are not all zeros are there. The order in the file is header, L1 table, then for each 512 MiB its
data and its L2 table, at last the reference counts; header and L1 table are filled in at the end.

Source: QEMU, ``docs/interop/qcow2.rst``, whose chapters the comments name.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import BinaryIO

from moby.formats import sparse
from moby.formats.deflate import deflate

CLUSTER_BITS = 16
CLUSTER_BYTES = 1 << CLUSTER_BITS
SECTOR_BYTES = 512
_L2_ENTRIES = CLUSTER_BYTES // 8
_REFCOUNTS = CLUSTER_BYTES // 2  # 16-bit counts in a cluster
_REFCOUNT_ORDER = 4

# "Header": magic, version, backing file (offset, size), cluster bits, size, encryption, L1 entries and offset, refcount
# table's offset and clusters, snapshots and their offset, features (incompatible, compatible, auto-clear), refcount
# order, header length; then the end of the header extensions.
_HEADER = struct.Struct(">4sIQIIQIIQQIIQQQQIIQ")
_HEADER_BYTES = 104
_COPIED = 1 << 63
# "L2 table entry": a compressed cluster; what is below the number of its further sectors is its offset.
_COMPRESSED = 1 << 62
_SECTORS_SHIFT = 62 - (CLUSTER_BITS - 8)
_WINDOW_BITS = -12  # QEMU inflates with this window


def write(disk: BinaryIO, out: BinaryIO, *, compress: bool = True) -> None:
    """Write the raw ``disk`` to an empty seekable ``out``, its size rounded up to whole sectors of 512 bytes."""
    size = -(-sparse.size_of(disk) // SECTOR_BYTES) * SECTOR_BYTES
    image = _Image(out, size)
    for number, block in sparse.blocks(disk, CLUSTER_BYTES):
        image.add(number, block, compress=compress)
    image.finish()


class _Image:
    """An image being written; ``_used`` is where its file ends for now."""

    def __init__(self, out: BinaryIO, size: int) -> None:
        self._out = out
        self._size = size
        clusters = -(-size // CLUSTER_BYTES)
        self._l1 = [0] * -(-clusters // _L2_ENTRIES)
        self._l2 = array("Q")
        self._table = -1
        self._counts = array("H")
        self._used = CLUSTER_BYTES + self._l1_clusters * CLUSTER_BYTES
        self._refer(0, self._used)
        out.seek(self._used)

    @property
    def _l1_clusters(self) -> int:
        return -(-len(self._l1) * 8 // CLUSTER_BYTES)

    def add(self, number: int, block: bytes, *, compress: bool) -> None:
        """Append one cluster of the disk; they come in order."""
        table, index = divmod(number, _L2_ENTRIES)
        if table != self._table:
            self._end_table()
            self._table, self._l2 = table, array("Q", bytes(CLUSTER_BYTES))
        packed = deflate(block, window_bits=_WINDOW_BITS) if compress else block
        if len(packed) < CLUSTER_BYTES:
            sectors = (self._used % SECTOR_BYTES + len(packed) - 1) // SECTOR_BYTES
            self._l2[index] = _COMPRESSED | sectors << _SECTORS_SHIFT | self._used
            self._append(packed)
        else:
            self._pad()
            self._l2[index] = _COPIED | self._used
            self._append(block)

    def finish(self) -> None:
        """Write the last tables, then what refers to them."""
        self._end_table()
        self._pad()
        first, blocks, table_clusters = self._plan_counts()
        table_at = first + blocks * CLUSTER_BYTES
        self._refer(first, (blocks + table_clusters) * CLUSTER_BYTES)
        self._out.write(_big_endian(self._counts).ljust(blocks * CLUSTER_BYTES, b"\0"))
        entries = array("Q", (first + index * CLUSTER_BYTES for index in range(blocks)))
        self._out.write(_big_endian(entries).ljust(table_clusters * CLUSTER_BYTES, b"\0"))
        self._out.seek(CLUSTER_BYTES)
        self._out.write(_big_endian(array("Q", self._l1)))
        self._out.seek(0)
        self._out.write(self._header(table_at, table_clusters))

    def _header(self, counts_at: int, counts_clusters: int) -> bytes:
        l1_at = CLUSTER_BYTES if self._l1 else 0
        places = (len(self._l1), l1_at, counts_at, counts_clusters)
        fixed = (0, 0, 0, 0, 0, _REFCOUNT_ORDER, _HEADER_BYTES, 0)
        return _HEADER.pack(b"QFI\xfb", 3, 0, 0, CLUSTER_BITS, self._size, 0, *places, *fixed)

    def _end_table(self) -> None:
        """Write the L2 table that was filled; there is none where all is zero."""
        if self._table >= 0:
            self._pad()
            self._l1[self._table] = _COPIED | self._used
            self._append(_big_endian(self._l2))

    def _append(self, data: bytes) -> None:
        self._refer(self._used, len(data))
        self._out.write(data)
        self._used += len(data)

    def _pad(self) -> None:
        """Go to the next cluster."""
        gap = -self._used % CLUSTER_BYTES
        self._out.write(bytes(gap))
        self._used += gap

    def _refer(self, offset: int, size: int) -> None:
        """Count one more reference to each cluster of the file from ``offset`` on."""
        first, last = offset // CLUSTER_BYTES, (offset + size - 1) // CLUSTER_BYTES
        if last >= len(self._counts):
            self._counts.extend([0] * (last + 1 - len(self._counts)))
        for cluster in range(first, last + 1):
            self._counts[cluster] += 1

    def _plan_counts(self) -> tuple[int, int, int]:
        """Where the reference counts start, their clusters, and those of their table: all count themselves too."""
        blocks = table = 1
        while True:
            total = self._used // CLUSTER_BYTES + blocks + table
            needed = -(-total // _REFCOUNTS)
            if needed <= blocks and -(-blocks * 8 // CLUSTER_BYTES) <= table:
                return self._used, blocks, table
            blocks, table = max(blocks, needed), -(-max(blocks, needed) * 8 // CLUSTER_BYTES)


def _big_endian(values: array[int]) -> bytes:
    if sys.byteorder == "little":
        values = values[:]
        values.byteswap()
    return values.tobytes()
