"""Contents that are the same in an EROFS image, or only look so."""

from __future__ import annotations

import hashlib
import io
import random
from dataclasses import replace
from uuid import UUID

import pytest

from moby.formats import erofs, erofs_contents
from moby.formats.entry import Entry, file
from tests.support.filetrees import noise, tree
from tests.unit.formats.test_squashfs_files import forged, neutral

TIME_S = 1_492_533_000  # with this time an inode is compact, so that more tails fit beside it


def streamed(entry: Entry) -> Entry:
    assert isinstance(entry.data, bytes)
    return replace(entry, data=io.BytesIO(entry.data))


def made(entries: list[Entry]) -> tuple[erofs.Statistics, dict[str, str]]:
    """What an image of ``entries`` says of itself, and the digests of the files in it."""
    out = io.BytesIO()
    statistics = erofs.write(entries, out, uuid=UUID(int=1), time_s=TIME_S)
    out.seek(0)
    return statistics, {path: each.content for path, each in tree(erofs.read(out)).items()}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("size", "at"),
    [(8192, 7), (9000, 7), (9000, 8980), (12287, 12200), (300_000, 7), (300_000, 299_900), (2_500_000, 2_400_000)],
)
def test_files_with_the_same_checksum_are_told_apart(size: int, at: int, stream: bool) -> None:
    data = noise(size)
    contents = [data, forged(data, at=at), forged(data, at=at + 9), forged(data, at=at), data]
    entries = [file(str(number), each, mtime_s=TIME_S) for number, each in enumerate(contents)]
    # Between those, enough that the inodes of the first are written and forgotten.
    others = [file(f"{number:03}", noise(7000 + number)) for number in range(50)]
    chosen = [streamed(each) if stream else each for each in entries]
    statistics, found = made([*chosen[:3], *others, *chosen[3:]])
    assert (statistics.duplicates, statistics.duplicate_bytes) == (2, 2 * size)
    assert [found[str(number)] for number in range(5)] == [hashlib.sha256(each).hexdigest() for each in contents]


@pytest.mark.parametrize("stream", [False, True])
def test_a_copy_whose_tail_needs_a_block_is_what_later_ones_share(stream: bool) -> None:
    """An extended inode has no room for a tail that a compact one had; both share blocks with a tail in them."""
    data = noise(8192 + 4050)
    entries = [file(str(number), data, mtime_s=1 if number % 2 else TIME_S) for number in range(4)]
    statistics, found = made([streamed(each) if stream else each for each in entries])
    assert statistics.duplicates == 2
    assert set(found.values()) == {hashlib.sha256(data).hexdigest()}


@pytest.mark.parametrize("tail", [b"", b"tail"])
@pytest.mark.parametrize("longer_first", [False, True])
def test_files_whose_sizes_share_their_low_bits_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, tail: bytes, longer_first: bool
) -> None:
    """As of two files that differ by 4 GiB, of which a checksum says nothing."""
    monkeypatch.setattr(erofs_contents, "_MASK_32", 0xFFFF)
    block = neutral(noise(4092))
    contents = [block + tail, block * 17 + tail]
    if longer_first:
        contents.reverse()
    statistics, found = made([streamed(file(str(len(each)), each)) for each in contents])
    assert not statistics.duplicates
    assert found == {str(len(each)): hashlib.sha256(each).hexdigest() for each in contents}


def test_every_copy_is_found_among_many_files() -> None:
    values = random.Random(1).choices(range(3000), k=4000)
    contents = [value.to_bytes(8, "big") * 600 for value in values]
    statistics, found = made([file(f"{number:04}", each, mtime_s=TIME_S) for number, each in enumerate(contents)])
    assert statistics.duplicates == len(values) - len(set(values))
    assert list(found.values()) == [hashlib.sha256(each).hexdigest() for each in contents]
