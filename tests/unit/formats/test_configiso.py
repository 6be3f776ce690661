"""The configuration ISO, read back at the offsets of ECMA-119."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import ConfigError
from moby.formats.configiso import SECTOR, write


def made(data: bytes, **names: str) -> bytes:
    out = io.BytesIO()
    assert write(data, out, **names) == len(out.getvalue())
    return out.getvalue()


def both(image: bytes, offset: int) -> tuple[int, int]:
    """A number written in both byte orders."""
    (little,), (big,) = struct.unpack_from("<I", image, offset), struct.unpack_from(">I", image, offset + 4)
    return little, big


def records(image: bytes, sector: int, length: int) -> dict[bytes, tuple[int, int, int]]:
    """Name → (sector, bytes, flags) of a directory."""
    found, offset, end = {}, sector * SECTOR, sector * SECTOR + length
    while offset < end and image[offset]:
        sector_le, sector_be = (
            struct.unpack_from("<I", image, offset + 2)[0],
            struct.unpack_from(">I", image, offset + 6)[0],
        )
        size_le, size_be = (
            struct.unpack_from("<I", image, offset + 10)[0],
            struct.unpack_from(">I", image, offset + 14)[0],
        )
        assert (sector_le, size_le) == (sector_be, size_be)
        name = image[offset + 33 : offset + 33 + image[offset + 32]]
        found[name] = (sector_le, size_le, image[offset + 25])
        assert image[offset] % 2 == 0
        offset += image[offset]
    return found


@given(st.binary(max_size=3 * SECTOR))
def test_data_is_read_back_from_the_file(data: bytes) -> None:
    image = made(data)
    assert len(image) % SECTOR == 0
    descriptor = image[16 * SECTOR : 17 * SECTOR]
    assert descriptor[:7] == b"\x01CD001\x01"
    assert descriptor[40:72].rstrip() == b"config"
    assert struct.unpack_from("<I", descriptor, 80)[0] * SECTOR == len(image)
    assert image[17 * SECTOR :][:7] == b"\xffCD001\x01"
    root, length, flags = struct.unpack_from("<I", descriptor, 158)[0], SECTOR, descriptor[156 + 25]
    assert flags == 2
    entries = records(image, root, length)
    assert set(entries) == {b"\0", b"\x01", b"config"}
    sector, size, flags = entries[b"config"]
    assert (size, flags) == (len(data), 0)
    assert image[sector * SECTOR : sector * SECTOR + size] == data


def test_path_tables_agree_in_both_byte_orders() -> None:
    image = made(b"x")
    descriptor = image[16 * SECTOR : 17 * SECTOR]
    (size,) = struct.unpack_from("<I", descriptor, 132)
    little, big = struct.unpack_from("<I", descriptor, 140)[0], struct.unpack_from(">I", descriptor, 148)[0]
    assert struct.unpack_from("<BBIH", image, little * SECTOR) == struct.unpack_from(">BBIH", image, big * SECTOR)
    assert size == 10


def test_names_can_be_chosen_and_are_bounded() -> None:
    image = made(b"x", volume="cidata", name="user-data")
    assert image[16 * SECTOR + 40 :].startswith(b"cidata ")
    assert b"user-data" in records(image, 20, SECTOR)
    with pytest.raises(ConfigError, match="does not fit"):
        write(b"", io.BytesIO(), volume="v" * 33)


def test_same_data_gives_the_same_bytes() -> None:
    assert made(b"hello") == made(b"hello")
