from __future__ import annotations

import io
import json
import struct
import uuid
from pathlib import Path

import pytest

from moby import proc
from moby.errors import ConfigError
from moby.formats import vhd

ID = uuid.UUID("12345678-1234-5678-1234-567812345678")
TIME_S = 1492533000
MIB = 1 << 20


def fixed(size: int, *, align: int = 512) -> bytes:
    out = io.BytesIO()
    vhd.write_fixed(io.BytesIO(b"\1" * size), out, id=ID, time_s=TIME_S, align_bytes=align)
    return out.getvalue()


def dynamic(raw: bytes) -> bytes:
    out = io.BytesIO()
    vhd.write_dynamic(io.BytesIO(raw), out, id=ID, time_s=TIME_S)
    return out.getvalue()


def virtual_size(path: Path) -> int:
    size: int = json.loads(proc.run(["qemu-img", "info", "-f", "vpc", "--output=json", path]))["virtual-size"]
    return size


@pytest.mark.parametrize("size", [MIB, 33 * MIB, 33 * MIB + 512])
def test_no_sector_is_lost_to_the_geometry(size: int, tmp_path: Path) -> None:
    """QEMU takes the size from the geometry, which cannot say every size, unless it trusts the creator."""
    for image in (fixed(size), dynamic(b"\1" * size)):
        (tmp_path / "image").write_bytes(image)
        assert virtual_size(tmp_path / "image") == size


def test_azure_gets_whole_mebibytes_and_a_footer() -> None:
    image = fixed(MIB + 1, align=MIB)
    assert len(image) == 2 * MIB + 512
    assert image[: MIB + 1] == b"\1" * (MIB + 1)
    assert not any(image[MIB + 1 : 2 * MIB])


def test_the_footer_says_what_it_is_given() -> None:
    footer = fixed(3 * MIB)[-512:]
    assert footer[:8] == b"conectix"
    version, offset, when, creator = struct.unpack_from(">IQI4s", footer, 12)
    assert (version, offset, when, creator) == (0x10000, 0xFFFFFFFFFFFFFFFF, TIME_S - 946684800, b"win ")
    assert struct.unpack_from(">QQ", footer, 40) == (3 * MIB, 3 * MIB)
    assert struct.unpack_from(">I", footer, 60) == (2,)
    assert uuid.UUID(bytes=footer[68:84]) == ID
    (checksum,) = struct.unpack_from(">I", footer, 64)
    assert checksum == ~sum(footer[:64] + footer[68:]) & 0xFFFFFFFF


def test_a_dynamic_one_has_its_footer_twice_and_no_empty_blocks() -> None:
    image = dynamic(bytes(6 * MIB) + b"x")
    assert image[:512] == image[-512:]
    assert image[512:520] == b"cxsparse"
    table = struct.unpack_from(">4I", image, 1536)
    assert table == (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 4)
    assert len(image) == 1536 + 512 + 512 + 2 * MIB + 512


def test_geometry_covers_no_more_than_the_disk_and_misses_less_than_a_cylinder() -> None:
    for mebibytes in (1, 5, 40, 100, 504, 505, 1000, 4096, 8192, 30000, 130000):
        sectors = mebibytes * 2048
        cylinders, heads, per_track = vhd.geometry(sectors)
        assert 0 <= sectors - cylinders * heads * per_track < heads * per_track
        assert cylinders <= 65535 and heads <= 16 and per_track <= 255
    assert vhd.geometry(1 << 40) == (65535, 16, 255)


def test_more_than_the_format_can_hold_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "raw"
    with path.open("wb") as out:
        out.truncate((2040 << 30) + 512)
    for write in (vhd.write_fixed, vhd.write_dynamic):
        with path.open("rb") as disk, pytest.raises(ConfigError, match="2040 GiB cannot be a VHD"):
            write(disk, io.BytesIO(), id=ID)
