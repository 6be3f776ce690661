"""Contents that look the same in a squashfs image."""

from __future__ import annotations

import hashlib
import io
import zlib

import pytest

from moby.formats import squashfs, squashfs_files
from moby.formats.compress import Codec
from moby.formats.entry import Entry, Kind, file
from moby.formats.stream import SMALL_BYTES
from tests.support.filetrees import noise, tree

# CRC-32's polynomial, its bits in the order in which the checksum takes them: nothing changes where it is added.
_POLYNOMIAL = sum(int(bit) << place for place, bit in enumerate("100000100110000010001110110110111"))


def forged(data: bytes, *, at: int) -> bytes:
    """Other data with the size and the checksum of ``data``."""
    made = (int.from_bytes(data[at : at + 5], "little") ^ _POLYNOMIAL).to_bytes(5, "little")
    other = data[:at] + made + data[at + 5 :]
    assert (zlib.crc32(other), len(other)) == (zlib.crc32(data), len(data))
    assert other != data
    return other


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize(("size", "at"), [(3000, 7), (300_000, 7), (300_000, 299_900), (1_500_000, 7), (1 << 18, 7)])
def test_files_with_the_same_checksum_are_told_apart(codec: Codec, size: int, at: int) -> None:
    data = noise(size)
    contents = [data, forged(data, at=at), forged(data, at=at + 9), forged(data, at=at), data]
    entries = [
        Entry(path=str(number), kind=Kind.FILE, size=size, data=io.BytesIO(each) if size > SMALL_BYTES else each)
        for number, each in enumerate(contents)
    ]
    # Between those, enough that the first is packed and forgotten.
    others = [file(f"{number:03}", noise(100_000 + number)) for number in range(20)]
    out = io.BytesIO()
    statistics = squashfs.write([*entries[:3], *others, *entries[3:]], out, codec=codec)
    out.seek(0)
    assert (statistics.duplicates, statistics.duplicate_bytes) == (2, 2 * size)
    found = tree(squashfs.read(out))
    assert [found[str(number)].content for number in range(5)] == [
        hashlib.sha256(each).hexdigest() for each in contents
    ]


def neutral(data: bytes) -> bytes:
    """``data`` and four bytes, after which the checksum is as if nothing had come."""

    def four_zeros(state: int) -> int:
        return zlib.crc32(bytes(4), state ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    # Which state leads to each: solved bit by bit, since the checksum is linear.
    basis: dict[int, tuple[int, int]] = {}
    for bit in range(32):
        image, state = four_zeros(1 << bit), 1 << bit
        while image and (high := image.bit_length()) in basis:
            image, state = image ^ basis[high][0], state ^ basis[high][1]
        basis[image.bit_length()] = image, state
    left, wanted = 0xFFFFFFFF, 0
    while left:
        image, state = basis[left.bit_length()]
        left, wanted = left ^ image, wanted ^ state
    made = data + (zlib.crc32(data) ^ 0xFFFFFFFF ^ wanted).to_bytes(4, "little")
    assert zlib.crc32(made) == 0
    return made


@pytest.mark.parametrize("tail", [b"", b"tail"])
@pytest.mark.parametrize("longer_first", [False, True])
def test_files_whose_sizes_share_their_low_bits_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tail: bytes, longer_first: bool
) -> None:
    """As of two files that differ by 4 GiB, of which a checksum says nothing."""
    monkeypatch.setattr(squashfs_files, "_MASK_32", 0xFFFF)
    block = neutral(noise(4092))
    contents = [block + tail, block * 17 + tail]
    entries = [
        Entry(path=str(len(each)), kind=Kind.FILE, size=len(each), data=io.BytesIO(each))
        for each in (reversed(contents) if longer_first else contents)
    ]
    out = io.BytesIO()
    assert not squashfs.write([*entries, file("z", noise(9000))], out, block_bytes=4096).duplicates
    out.seek(0)
    found = tree(squashfs.read(out))
    for each in contents:
        assert found[str(len(each))].content == hashlib.sha256(each).hexdigest()
