from __future__ import annotations

import io
import struct
import tracemalloc
import uuid
from pathlib import Path

import pytest

from moby.errors import ConfigError
from moby.formats import vhdx
from moby.formats.crc32c import crc32c
from tests.support import disks

ID = uuid.UUID(int=5)
MIB = 1 << 20


class Huge(io.BytesIO):
    """A disk that says it is larger than a file can be."""

    def seek(self, offset: int, whence: int = 0) -> int:
        return (64 << 40) + 512 if whence == io.SEEK_END else super().seek(offset, whence)


@pytest.mark.parametrize(("block_bytes", "size"), [(MIB, 4100 * MIB), (32 * MIB, 300 * MIB + 512)])
def test_any_block_size_holds_the_same_disk(block_bytes: int, size: int, tmp_path: Path) -> None:
    """After 4096 blocks of 1 MiB an entry for their sector bitmaps lies between those of the blocks."""
    raw = disks.make(tmp_path, size, {0: b"a", size - 6 * MIB - 9: b"b" * MIB, size - 3 * MIB: b"c", size - 1: b"d"})
    with raw.open("rb") as disk, (tmp_path / "image").open("w+b") as out:
        vhdx.write(disk, out, id=ID, block_bytes=block_bytes)
    disks.compare_parts(raw, tmp_path / "image", "vhdx", [(0, 10), (size // MIB - 8, 9)])
    disks.check(tmp_path / "image", "vhdx")


def test_both_headers_and_both_region_tables_are_whole() -> None:
    out = io.BytesIO()
    vhdx.write(io.BytesIO(b"\1" * 1000), out, id=ID)
    image = out.getvalue()
    assert image[:8] == b"vhdxfile"
    for at, size in ((64 << 10, 4096), (128 << 10, 4096), (192 << 10, 64 << 10), (256 << 10, 64 << 10)):
        part = image[at : at + size]
        (checksum,) = struct.unpack_from("<I", part, 4)
        assert crc32c(part[:4] + bytes(4) + part[8:]) == checksum
    assert image[192 << 10 : 256 << 10] == image[256 << 10 : 320 << 10]
    assert len(image) % MIB == 0


def test_more_than_the_format_can_hold_is_refused() -> None:
    with pytest.raises(ConfigError, match="64 TiB cannot be a VHDX"):
        vhdx.write(Huge(), io.BytesIO(), id=ID)


def test_an_empty_disk_takes_no_memory_however_large_it_is(tmp_path: Path) -> None:
    raw = disks.make(tmp_path, 4 << 40, {0: b"a", (4 << 40) - 1: b"z"})
    with raw.open("rb") as disk, (tmp_path / "image").open("w+b") as out:
        tracemalloc.start()
        vhdx.write(disk, out, id=ID)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 16 * MIB
    disks.compare_parts(raw, tmp_path / "image", "vhdx", [(0, 2), ((4 << 40) // MIB - 2, 2)])
