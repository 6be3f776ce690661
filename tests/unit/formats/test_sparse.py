from __future__ import annotations

import io
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.formats import sparse
from tests.support import disks

MIB = 1 << 20


class Blind(io.BytesIO):
    """A stream whose file system knows nothing of holes."""

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence > 2:
            raise OSError(22, "Invalid argument")
        return super().seek(offset, whence)


def joined(disk: BinaryIO, block_bytes: int) -> bytes:
    """The disk as its blocks say."""
    made = bytearray(-(-sparse.size_of(disk) // block_bytes) * block_bytes)
    numbers = []
    for number, block in sparse.blocks(disk, block_bytes):
        assert len(block) == block_bytes
        made[number * block_bytes : (number + 1) * block_bytes] = block
        numbers.append(number)
    assert numbers == sorted(set(numbers))
    return bytes(made)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 9000), st.booleans()), max_size=8),
    st.sampled_from([512, 4096, 65536]),
)
def test_blocks_are_what_is_not_zero(parts: list[tuple[int, bool]], block_bytes: int) -> None:
    data = b"".join((b"\1" if full else b"\0") * size for size, full in parts)
    for disk in (io.BytesIO(data), Blind(data)):
        assert joined(disk, block_bytes)[: len(data)] == data
        assert all(any(block) for _, block in sparse.blocks(disk, block_bytes))


def test_blocks_larger_than_the_data_between_holes_are_given_once(tmp_path: Path) -> None:
    parts = {offset: b"x" * 4096 for offset in (0, 8 << 10, 60 << 10, 3 * MIB, 3 * MIB + (128 << 10))}
    path = disks.make(tmp_path, 5 * MIB + 100, parts)
    with path.open("rb") as disk:
        assert joined(disk, 2 * MIB)[: 5 * MIB + 100] == path.read_bytes()
        assert [number for number, _ in sparse.blocks(disk, 2 * MIB)] == [0, 1]


def test_a_copy_has_the_bytes_and_the_holes(tmp_path: Path) -> None:
    path = disks.make(tmp_path, 100 * MIB + 1, {MIB: b"a", 50 * MIB: b"b" * 3000})
    target = tmp_path / "copy"
    with path.open("rb") as disk, target.open("wb") as out:
        assert sparse.copy(disk, out) == 100 * MIB + 1
    assert target.read_bytes() == path.read_bytes()
    assert target.stat().st_blocks * 512 < MIB


def test_written_zeros_become_a_hole(tmp_path: Path) -> None:
    path, target = tmp_path / "disk", tmp_path / "copy"
    path.write_bytes(bytes(8 * MIB) + b"end")
    with path.open("rb") as disk, target.open("wb") as out:
        sparse.copy(disk, out)
    assert target.read_bytes() == path.read_bytes()
    assert target.stat().st_blocks * 512 < MIB


def test_what_is_put_has_holes_too(tmp_path: Path) -> None:
    data = bytes(MIB) + b"data" + bytes(3 * MIB)
    with (tmp_path / "disk").open("wb") as out:
        sparse.put(out, 5000, data)
        sparse.grow(out, 5000 + len(data))
    assert (tmp_path / "disk").read_bytes() == bytes(5000) + data
    assert (tmp_path / "disk").stat().st_blocks * 512 <= 128 << 10


def test_a_tebibyte_of_nothing_takes_no_time(tmp_path: Path) -> None:
    path = disks.make(tmp_path, 1 << 40, {0: b"a", 1 << 39: b"b"})
    started = time.monotonic()
    with path.open("rb") as disk:
        assert [number for number, _ in sparse.blocks(disk, 1 << 16)] == [0, 1 << 23]
    assert time.monotonic() - started < 1


@pytest.mark.parametrize("size", [0, 1, MIB - 1, MIB, 3 * MIB + 5])
def test_zeros_are_known_at_any_length(size: int) -> None:
    assert sparse.is_zero(bytes(size))
    if size:
        assert not sparse.is_zero(bytes(size - 1) + b"\1")
        assert not sparse.is_zero(b"\1" + bytes(size - 1))


def test_an_in_memory_stream_grows_too() -> None:
    out = io.BytesIO(b"abc")
    sparse.grow(out, 10)
    assert out.getvalue() == b"abc" + bytes(7)
    sparse.grow(out, 5)
    assert len(out.getvalue()) == 10
