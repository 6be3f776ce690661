from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import IntegrityError
from moby.formats import pe
from tests.support import efi


def read(data: bytes) -> pe.Image:
    return pe.read(io.BytesIO(data))


def changed(data: bytes, at: int, form: str, *values: int) -> bytes:
    made = bytearray(data)
    struct.pack_into(form, made, at, *values)
    return bytes(made)


def test_sections_are_read_as_objdump_lists_them(tmp_path: Path) -> None:
    path = tmp_path / "program.efi"
    path.write_bytes(efi.stub())
    rows = [row.split() for row in proc.run(["objdump", "-h", str(path)]).decode().splitlines()]
    listed = [
        (row[1], int(row[2], 16), int(row[3], 16), int(row[5], 16)) for row in rows if row[:1] and row[0].isdigit()
    ]
    found = read(path.read_bytes()).sections
    assert [(each.name, each.virtual_size, each.address, each.offset) for each in found] == listed


def test_content_is_without_padding_and_bounded() -> None:
    stream = io.BytesIO(efi.stub())
    section = pe.read(stream).section(".sbat")
    assert section is not None
    assert pe.content(stream, section, limit=1000) == efi.SBAT
    with pytest.raises(IntegrityError, match="more than 10"):
        pe.content(stream, section, limit=10)


STUB = efi.stub()
OPTIONAL = 0x40 + 24


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "MZ"),
        (b"#!/bin/sh\n", "MZ"),
        (STUB[:0x50], "truncated|no PE header"),
        (changed(STUB, 0x3C, "<I", 0xFFFFFFF0), "no PE header"),
        (changed(STUB, OPTIONAL, "<H", 0x10B), r"not a PE32\+"),
        (changed(STUB, 0x46, "<H", 97), "97 sections"),
        (changed(STUB, OPTIONAL + 32, "<I", 3), "alignment of 3 bytes"),
        (changed(STUB, OPTIONAL + 36, "<I", 0), "alignment of 0 bytes"),
        (changed(STUB, OPTIONAL + 60, "<I", 0x100), "headers of 256 bytes"),
        (changed(STUB, OPTIONAL + 60, "<I", 1 << 30), "headers of 1073741824 bytes"),
        (changed(STUB, OPTIONAL + 108, "<I", 4), "no place for a signature"),
        (changed(STUB, OPTIONAL + 144, "<II", 0x1000, 1 << 20), "certificate table is outside"),
        (changed(STUB, OPTIONAL + 240 + 16, "<I", 1 << 20), "outside of the file"),
    ],
)
def test_hostile_headers_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        read(data)


@settings(max_examples=300)
@given(st.integers(0, 0x600), st.binary(min_size=1, max_size=16))
def test_damage_gives_an_image_or_an_integrity_error(at: int, noise: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        image = read(STUB[:at] + noise + STUB[at + len(noise) :])
        assert all(section.offset + section.size <= len(STUB) for section in image.sections)
