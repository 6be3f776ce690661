"""VMware disk images of the kind ``streamOptimized``: written front to back, each piece of 64 KiB packed.

It is the kind inside of an OVA and the one that vSphere, AWS and others import. Header, descriptor, then for each 32
MiB that has data its grains and its grain table, at last the grain directory, a footer (the header again, which knows
now where the directory is) and a mark for the end.

Source: VMware, "Virtual Disk Format 5.0", technical note of 2011-12-20, whose chapters the comments name.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from moby.errors import ConfigError
from moby.formats import sparse
from moby.formats.deflate import deflate

SECTOR_BYTES = 512
GRAIN_SECTORS = 128
GRAIN_BYTES = GRAIN_SECTORS * SECTOR_BYTES
_TABLE_GRAINS = 512
_MAX_SECTORS = 0xFFFFFFFF  # a grain table's entries are 32 bits wide
_DESCRIPTOR_AT, _DESCRIPTOR_SECTORS = 1, 20
_OVERHEAD_SECTORS = 128
# "Hosted Sparse Extent Header": magic, version, flags, capacity, grain size, descriptor (offset, size), entries in a
# grain table, redundant directory, directory, overhead, unclean, line ends, compression.
_HEADER = struct.Struct("<4sIIQQQQIQQQB4sH433x")
_VERSION = 3
_FLAGS = 1 << 0 | 1 << 16 | 1 << 17  # line ends to be checked, compressed, markers
_DEFLATE = 1
_DIRECTORY_AT_END = 0xFFFFFFFFFFFFFFFF
# "Stream-Optimized Compressed Sparse Extents", "Markers": sectors that follow, size (0: no grain), type.
_MARKER = struct.Struct("<QII496x")
_GRAIN = struct.Struct("<QI")
_END, _TABLE, _DIRECTORY, _FOOTER = range(4)
_HEADS, _TRACK_SECTORS, _MAX_CYLINDERS = 255, 63, 65535


def write(disk: BinaryIO, out: BinaryIO, *, content_id: int, name: str = "disk.vmdk") -> int:
    """Write the raw ``disk``, filled up to 64 KiB, to ``out``, which need not seek; give the bytes written.

    ``content_id`` is 32 bits by which users of snapshots see that the content is another; ``name`` is what the extent
    calls itself. Raises ``ConfigError`` when the image would take more than 2 TiB.
    """
    image = _Image(out, -(-sparse.size_of(disk) // GRAIN_BYTES) * GRAIN_SECTORS)
    image.start(_descriptor(image.capacity, content_id, name))
    for number, grain in sparse.blocks(disk, GRAIN_BYTES):
        image.add(number, grain)
    return image.finish()


class _Image:
    """An image being written; ``_sector`` is where its file ends for now."""

    def __init__(self, out: BinaryIO, capacity: int) -> None:
        self.capacity = capacity
        self._out = out
        self._sector = 0
        grains = capacity // GRAIN_SECTORS
        self._directory = [0] * -(-grains // _TABLE_GRAINS)
        self._entries = [0] * _TABLE_GRAINS
        self._table = -1

    def start(self, descriptor: bytes) -> None:
        """Header and descriptor, up to where the data starts."""
        head = self._header(_DIRECTORY_AT_END) + descriptor
        self._append(head.ljust(_OVERHEAD_SECTORS * SECTOR_BYTES, b"\0"))

    def add(self, number: int, grain: bytes) -> None:
        """Append one grain of the disk; they come in order."""
        table, index = divmod(number, _TABLE_GRAINS)
        if table != self._table:
            self._end_table()
            self._table, self._entries = table, [0] * _TABLE_GRAINS
        self._entries[index] = self._sector
        packed = deflate(grain)
        self._append(_GRAIN.pack(number * GRAIN_SECTORS, len(packed)) + packed)

    def finish(self) -> int:
        """What comes after the data; the bytes of the image."""
        self._end_table()
        raw = struct.pack(f"<{len(self._directory)}I", *self._directory)
        self._mark(_DIRECTORY, -(-len(raw) // SECTOR_BYTES))
        directory_at = self._sector
        self._append(raw)
        self._mark(_FOOTER, 1)
        self._append(self._header(directory_at))
        self._mark(_END, 0)
        return self._sector * SECTOR_BYTES

    def _end_table(self) -> None:
        """Write the grain table that was filled; there is none where all is zero."""
        if self._table >= 0:
            raw = struct.pack(f"<{_TABLE_GRAINS}I", *self._entries)
            self._mark(_TABLE, len(raw) // SECTOR_BYTES)
            self._directory[self._table] = self._sector
            self._append(raw)

    def _mark(self, kind: int, sectors: int) -> None:
        self._append(_MARKER.pack(sectors, 0, kind))

    def _append(self, data: bytes) -> None:
        """Write ``data``, filled up to whole sectors."""
        self._out.write(data + bytes(-len(data) % SECTOR_BYTES))
        self._sector += -(-len(data) // SECTOR_BYTES)
        if self._sector > _MAX_SECTORS:
            raise ConfigError("the disk holds more than the 2 TiB that a VMDK can", fix="use vhdx or qcow2")

    def _header(self, directory_at: int) -> bytes:
        places = (_DESCRIPTOR_AT, _DESCRIPTOR_SECTORS, _TABLE_GRAINS, 0, directory_at, _OVERHEAD_SECTORS)
        return _HEADER.pack(b"KDMV", _VERSION, _FLAGS, self.capacity, GRAIN_SECTORS, *places, 0, b"\n \r\n", _DEFLATE)


def _descriptor(capacity: int, content_id: int, name: str) -> bytes:
    """The text that says what the image is ("The Descriptor File")."""
    cylinders = min(_MAX_CYLINDERS, capacity // (_HEADS * _TRACK_SECTORS))
    text = f"""# Disk DescriptorFile
version=1
CID={content_id & 0xFFFFFFFF:08x}
parentCID=ffffffff
createType="streamOptimized"

# Extent description
RDONLY {capacity} SPARSE "{name}"

# The Disk Data Base
#DDB

ddb.adapterType = "lsilogic"
ddb.geometry.cylinders = "{cylinders}"
ddb.geometry.heads = "{_HEADS}"
ddb.geometry.sectors = "{_TRACK_SECTORS}"
ddb.virtualHWVersion = "6"
"""
    return text.encode()
