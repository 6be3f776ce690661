"""Where the parts of a FAT file system lie, and which of its three kinds a size calls for.

The kind follows from the number of clusters alone, so it is kept away from the borders by more than the 16 clusters
that the specification advises.

Source: Microsoft FAT specification of 2005-08-30 ("fatgen"), 3.1 "BPB", 3.5 "Determination of FAT type", 4 "FAT".
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

from moby.errors import ConfigError

SECTOR_BYTES = 512
FATS = 2
_MAX_SECTORS = 0xFFFFFFFF
_MAX_CLUSTER_SECTORS = 64


class Kind(enum.IntEnum):
    """The three kinds, by the bits of an entry in the file allocation table."""

    FAT12 = 12
    FAT16 = 16
    FAT32 = 32


# Clusters that each kind can have (3.5), 20 off the borders.
_LEAST = {Kind.FAT12: 1, Kind.FAT16: 4085 + 20, Kind.FAT32: 65525 + 20}
_MOST = {Kind.FAT12: 4084 - 20, Kind.FAT16: 65524 - 20, Kind.FAT32: 0x0FFFFFF4 - 20}
_RESERVED = {Kind.FAT12: 1, Kind.FAT16: 1, Kind.FAT32: 32}
# Up to this many MiB: kind and sectors per cluster (3.5, the tables for FAT16 and FAT32, which say nothing of FAT12).
_BY_SIZE = (
    (2, Kind.FAT12, 1),
    (4, Kind.FAT12, 2),
    (8, Kind.FAT12, 4),
    (16, Kind.FAT16, 2),
    (128, Kind.FAT16, 4),
    (256, Kind.FAT16, 8),
    (512, Kind.FAT16, 16),
    (1024, Kind.FAT16, 32),
    (2048, Kind.FAT16, 64),
    (260, Kind.FAT32, 1),
    (8 << 10, Kind.FAT32, 8),
    (16 << 10, Kind.FAT32, 16),
    (32 << 10, Kind.FAT32, 32),
    (2 << 20, Kind.FAT32, 64),
)
_FAT16_MIB = 512  # past this the kind is FAT32 unless one is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A file system of ``sectors`` sectors of 512 bytes. ``root_entries`` is 0 in FAT32, whose root is a chain.

    Offsets are bytes from the start of the file system.
    """

    kind: Kind
    sectors: int
    cluster_sectors: int
    reserved_sectors: int
    fat_sectors: int
    root_entries: int

    @property
    def cluster_bytes(self) -> int:
        """Bytes in a cluster."""
        return self.cluster_sectors * SECTOR_BYTES

    @property
    def root_offset(self) -> int:
        """Where the root directory of FAT12 and FAT16 is."""
        return (self.reserved_sectors + FATS * self.fat_sectors) * SECTOR_BYTES

    @property
    def data_offset(self) -> int:
        """Where cluster 2, the first, is."""
        return self.root_offset + _root_sectors(self.root_entries) * SECTOR_BYTES

    @property
    def clusters(self) -> int:
        """How many clusters there are."""
        return (self.sectors - self.data_offset // SECTOR_BYTES) // self.cluster_sectors

    def fat_offset(self, number: int) -> int:
        """Where a copy of the allocation table is."""
        return (self.reserved_sectors + number * self.fat_sectors) * SECTOR_BYTES

    def offset(self, cluster: int) -> int:
        """Where a cluster is."""
        return self.data_offset + (cluster - 2) * self.cluster_bytes


def kind_of(clusters: int) -> Kind:
    """The kind of a file system with this many clusters."""
    if clusters < 4085:
        return Kind.FAT12
    return Kind.FAT16 if clusters < 65525 else Kind.FAT32


def choose(kind: Kind | None, sectors: int, root_entries: int) -> Geometry:
    """The geometry of a file system of this size: its kind by its size unless one is given.

    It may have fewer clusters than its kind must have: see ``sectors_for``. Raises ``ConfigError`` when it would have
    too many.
    """
    if kind is None:
        small = [row for row in _BY_SIZE if row[0] <= _FAT16_MIB and row[1] is not Kind.FAT32]
        rows = [row for row in small if sectors <= row[0] << 11] or [row for row in _BY_SIZE if row[1] is Kind.FAT32]
        kind = rows[0][1]
    rows = [row for row in _BY_SIZE if row[1] is kind and sectors <= row[0] << 11]
    cluster_sectors = rows[0][2] if rows else _MAX_CLUSTER_SECTORS
    while True:
        made = _geometry(kind, sectors, cluster_sectors, 0 if kind is Kind.FAT32 else root_entries)
        if made.clusters <= _MOST[kind] and sectors <= _MAX_SECTORS:
            return made
        cluster_sectors *= 2
        if cluster_sectors > _MAX_CLUSTER_SECTORS:
            raise ConfigError(f"{sectors >> 11} MiB are too much for a {kind.name} file system")


def sectors_for(geometry: Geometry, clusters: int) -> int:
    """How many sectors a file system with this kind, cluster size and root needs to have ``clusters`` clusters.

    It is no less than the smallest of its kind.
    """
    clusters = max(clusters, _LEAST[geometry.kind])
    fixed = geometry.reserved_sectors + _root_sectors(geometry.root_entries)
    return fixed + FATS * _fat_sectors(geometry.kind, clusters) + clusters * geometry.cluster_sectors


def _geometry(kind: Kind, sectors: int, cluster_sectors: int, root_entries: int) -> Geometry:
    """The one with the smallest allocation table that has an entry for each cluster that is left beside it."""
    free = sectors - _RESERVED[kind] - _root_sectors(root_entries)
    # Each cluster takes its sectors and its entries; the whole table is a little more than that share.
    bits_per_cluster = cluster_sectors * SECTOR_BYTES * 8 + FATS * kind
    fat_sectors = max(1, free * kind // bits_per_cluster)
    while fat_sectors < _fat_sectors(kind, (free - FATS * fat_sectors) // cluster_sectors):
        fat_sectors += 1
    return Geometry(
        kind=kind,
        sectors=sectors,
        cluster_sectors=cluster_sectors,
        reserved_sectors=_RESERVED[kind],
        fat_sectors=fat_sectors,
        root_entries=root_entries,
    )


def _fat_sectors(kind: Kind, clusters: int) -> int:
    """Sectors of an allocation table for this many clusters and the two entries before the first."""
    return -(-(max(0, clusters) + 2) * kind // (8 * SECTOR_BYTES))


def _root_sectors(entries: int) -> int:
    return -(-entries * 32 // SECTOR_BYTES)
