from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import lzma
from collections.abc import Callable

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.formats import cpio, initrd
from moby.formats.entry import file

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "xz": lzma.compress,
}


def archive(*names: str, size: int = 10) -> bytes:
    out = io.BytesIO()
    cpio.write([file(name, name.encode() * size) for name in names], out)
    return out.getvalue()


def found(data: bytes) -> list[tuple[str, list[str]]]:
    stream = io.BytesIO(data)
    return [(each.codec, [entry.path for entry in cpio.read(each.open(stream))]) for each in initrd.segments(stream)]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(PACKERS)), st.integers(0, 9), st.integers(1, 4000)), max_size=6))
def test_finds_each_segment(parts: list[tuple[str, int, int]]) -> None:
    data, expected = b"", []
    for number, (codec, padding, size) in enumerate(parts):
        data += bytes(-len(data) % 4) + PACKERS[codec](archive(f"f{number}", size=size)) + bytes(4 * padding)
        expected.append((codec, [f"f{number}"]))
    assert found(data) == expected


@pytest.mark.parametrize("codec", ["gzip", "zstd", "xz"])
def test_members_of_one_stream_are_one_segment(codec: str) -> None:
    whole = archive("a", "b", size=3000)
    pack = PACKERS[codec]
    data = pack(whole[:2000]) + pack(whole[2000:]) + pack(archive("c"))
    assert found(data) == [(codec, ["a", "b"]), (codec, ["c"])]


def test_several_archives_in_one_stream() -> None:
    assert found(gzip.compress(archive("a") + bytes(8) + archive("b"))) == [("gzip", ["a", "b"])]


def test_segments_say_where_they_are() -> None:
    plain, packed = archive("a"), gzip.compress(archive("b"))
    one, two = initrd.segments(io.BytesIO(plain + bytes(400) + packed))
    assert (one.offset, one.size) == (0, len(plain))
    assert (two.offset, two.size) == (len(plain) + 400, len(packed))


def test_codecs_without_an_end_go_to_the_end() -> None:
    assert found(bz2.compress(archive("a"))) == [("bzip2", ["a"])]
    (only,) = initrd.segments(io.BytesIO(b"\x02\x21\x4c\x18rest"))
    assert (only.codec, only.size) == ("lz4", 8)
    with pytest.raises(IntegrityError, match="lz4"):
        only.open(io.BytesIO(b"\x02\x21\x4c\x18rest"))


@pytest.mark.parametrize("codec", PACKERS)
def test_truncated_and_trailing_bytes_are_refused(codec: str) -> None:
    data = PACKERS[codec](archive("a", size=500))
    with pytest.raises(IntegrityError):
        found(data[:-9])
    with pytest.raises(IntegrityError, match="neither a cpio archive nor a packed one at byte"):
        found(data + bytes(-len(data) % 4) + b"garbage")


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(PACKERS)), st.integers(0, 80), st.binary(min_size=1, max_size=9))
def test_damage_is_an_error_or_harmless(codec: str, at: int, damage: bytes) -> None:
    data = bytearray(PACKERS[codec](archive("a", size=50)))
    data[at : at + len(damage)] = damage
    with contextlib.suppress(IntegrityError):
        list(initrd.segments(io.BytesIO(bytes(data))))
