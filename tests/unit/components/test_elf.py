"""What the dynamic linker reads, from made files and from real ones."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.components import elf
from moby.errors import IntegrityError
from tests.support import elfs


def read(data: bytes) -> elf.Elf | None:
    return elf.read(io.BytesIO(data), where="x")


def test_reads_a_program() -> None:
    found = read(elfs.dynamic(["liba.so.1", "libc.so.6"], interpreter="/lib/ld.so", rpath="/a:/b", runpath="$ORIGIN/x"))
    assert found == elf.Elf(
        machine=62,
        interpreter="/lib/ld.so",
        needed=("liba.so.1", "libc.so.6"),
        rpath=("/a", "/b"),
        runpath=("$ORIGIN/x",),
    )


@pytest.mark.parametrize("data", [b"", b"#!/bin/sh\n", b"\x7fELF", b"\x7fELF\x01\x01" + bytes(100)])
def test_other_files_are_none(data: bytes) -> None:
    assert read(data) is None


@given(st.integers(0, 500), st.binary(min_size=1, max_size=8))
def test_damage_is_an_error_or_harmless(position: int, damage: bytes) -> None:
    data = bytearray(elfs.dynamic(["liba.so.1"], interpreter="/lib/ld.so"))
    position %= len(data)
    data[position : position + len(damage)] = damage
    try:
        read(bytes(data))
    except IntegrityError as error:
        assert error.where == "x"


@pytest.mark.parametrize("size", [70, 120, 200, 250])
def test_truncation_is_an_error(size: int) -> None:
    with pytest.raises(IntegrityError):
        read(elfs.dynamic(["liba.so.1"], interpreter="/lib/ld.so")[:size])


def test_agrees_with_readelf_on_a_real_program() -> None:
    path = Path(shutil.which("ls") or "/bin/ls").resolve()
    with path.open("rb") as stream:
        found = elf.read(stream)
    assert found is not None
    shown = subprocess.run(["readelf", "-dlW", path], capture_output=True, check=True, text=True).stdout
    assert [line.split("[")[1][:-1] for line in shown.splitlines() if "(NEEDED)" in line] == list(found.needed)
    assert f"[Requesting program interpreter: {found.interpreter}]" in shown


def test_reads_a_section_by_name() -> None:
    data = elfs.module("loop", depends=["a", "b"])
    assert elf.section(io.BytesIO(data), b".modinfo").split(b"\0")[:2] == [b"name=loop", b"depends=a,b"]
    assert elf.section(io.BytesIO(data), b".nothing") == b""


@pytest.mark.parametrize("size", [10, 100, 160, 250])
def test_a_damaged_module_is_an_error(size: int) -> None:
    with pytest.raises(IntegrityError):
        elf.section(io.BytesIO(elfs.module("loop", depends=["a", "b"])[:size]), b".modinfo", where="x")
