from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import random
import tracemalloc
import zlib
from collections.abc import Callable
from typing import BinaryIO, cast

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.formats.compress import Codec, compressor, decompress

OUTSIDE: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "xz": lzma.compress,
    "bzip2": bz2.compress,
}


def sample(count: int = 3_000_000) -> bytes:
    """Text-like bytes that a compressor has some work with, the same on every run."""
    source = random.Random(1)
    words = [source.randbytes(source.randrange(2, 12)) for _ in range(5000)]
    return b" ".join(source.choices(words, k=count // 8))[:count]


def packed(data: bytes, codec: Codec, *, step: int = 1 << 16) -> bytes:
    out = io.BytesIO()
    with compressor(codec, out) as stream:
        for start in range(0, len(data), step):
            stream.write(data[start : start + step])
    return out.getvalue()


@pytest.mark.parametrize("codec", Codec)
def test_what_is_packed_unpacks_to_the_same(codec: Codec) -> None:
    data = sample()
    assert decompress(io.BytesIO(packed(data, codec))).read() == data
    assert decompress(io.BytesIO(packed(b"", codec))).read() == b""


def test_the_standard_tools_unpack_it() -> None:
    data = sample(300_000)
    assert gzip.decompress(packed(data, Codec.GZIP)) == data
    assert zstandard.ZstdDecompressor().decompressobj().decompress(packed(data, Codec.ZSTD)) == data


@pytest.mark.parametrize(
    ("codec", "digest"),
    [
        (Codec.GZIP, "b56fcb50dc1a73d9f739eb65ef5f3a2aa2309b1386518a4abaf6cebad2513db4"),
        (Codec.ZSTD, "1536930e35ac11ddae08b5fa3e5ea023136de42917f9e7cb5c5c30f9e133187d"),
    ],
)
def test_the_packed_bytes_are_the_same_on_every_machine(codec: Codec, digest: str) -> None:
    assert hashlib.sha256(packed(sample(), codec)).hexdigest() == digest


@pytest.mark.parametrize("codec", Codec)
def test_how_the_input_is_cut_does_not_change_the_output(codec: Codec) -> None:
    data = sample(2_500_000)
    assert packed(data, codec, step=999) == packed(data, codec, step=1 << 22)


def test_the_gzip_header_holds_no_time_and_no_system() -> None:
    assert packed(b"x", Codec.GZIP)[:10] == bytes.fromhex("1f8b08000000000000ff")


def test_an_error_leaves_the_packed_stream_without_an_end() -> None:
    out = io.BytesIO()
    with pytest.raises(RuntimeError), compressor(Codec.GZIP, out) as stream:
        stream.write(sample(2_000_000))
        raise RuntimeError
    with pytest.raises(IntegrityError, match="truncated"):
        decompress(io.BytesIO(out.getvalue())).read()


@pytest.mark.parametrize("name", OUTSIDE)
def test_several_members_are_one_stream(name: str) -> None:
    data = sample(200_000)
    pack = OUTSIDE[name]
    stream = decompress(io.BytesIO(pack(data) + pack(b"") + pack(b"end")))
    assert stream.read(5) == data[:5]
    assert stream.read() == data[5:] + b"end"
    assert stream.read(1) == b""


def test_zero_padding_after_gzip_is_passed_over() -> None:
    assert decompress(io.BytesIO(gzip.compress(b"a") + bytes(700) + gzip.compress(b"b") + bytes(3))).read() == b"ab"


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("cut", [1, 4, 9, 40_000])
def test_truncation_is_always_an_error(name: str, cut: int) -> None:
    data = random.Random(2).randbytes(100_000)
    with pytest.raises(IntegrityError, match="a\\.gz: the compressed stream is broken"):
        decompress(io.BytesIO(OUTSIDE[name](data)[:-cut]), where="a.gz").read()


@pytest.mark.parametrize("name", OUTSIDE)
def test_damage_and_trailing_garbage_are_errors(name: str) -> None:
    whole = OUTSIDE[name](sample(50_000))
    damaged = bytearray(whole)
    damaged[len(whole) // 2] ^= 0xFF
    for data in (bytes(damaged), whole + b"garbage"):
        with pytest.raises(IntegrityError):
            decompress(io.BytesIO(data)).read()


@settings(max_examples=200)
@given(st.sampled_from([b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd", b"\xfd7zXZ\0", b"BZh9"]), st.binary(max_size=200))
def test_any_bytes_after_a_magic_give_data_or_an_integrity_error(magic: bytes, rest: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        decompress(io.BytesIO(magic + rest)).read(1 << 16)


def test_zstd_frames_of_every_shape_are_followed() -> None:
    bodies = (b"", b"a", b"b" * 300, b"c" * 70_000, sample(200_000))
    shapes = [
        zstandard.ZstdCompressor(write_content_size=size, write_checksum=check).compress(data)
        for size in (False, True)
        for check in (False, True)
        for data in bodies
    ]
    skippable = bytes.fromhex("502a4d18 03000000") + b"xyz"
    whole = skippable.join(shapes)
    assert decompress(io.BytesIO(shapes[-1] + whole)).read() == bodies[-1] + b"".join(bodies) * 4
    for cut in (1, 2, 3, 5):
        with pytest.raises(IntegrityError):
            decompress(io.BytesIO(whole[:-cut])).read()


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_bomb_takes_no_memory(name: str) -> None:
    bomb = OUTSIDE[name](bytes(50_000_000))
    tracemalloc.start()
    stream = decompress(io.BytesIO(bomb))
    total = 0
    while chunk := stream.read(1 << 16):
        total += len(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 50_000_000
    assert peak < 16 << 20


def test_a_zstd_window_that_needs_too_much_memory_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27, write_content_size=False)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    data = packer.compress(b"x" * 100) + packer.flush()
    with pytest.raises(IntegrityError, match="memory"):
        decompress(io.BytesIO(data)).read()


def test_other_bytes_pass_through() -> None:
    for data in (b"", b"a", b"plain text", bytes(2000)):
        stream = decompress(io.BytesIO(data))
        assert stream.read(1) + stream.read(3) + stream.read() == data


def test_a_failing_disk_is_not_called_a_broken_stream() -> None:
    class Failing(io.RawIOBase):
        def read(self, size: int | None = -1) -> bytes:
            if size is not None and size < 10:
                return gzip.compress(b"")[:size]
            raise OSError("disk")

    with pytest.raises(OSError, match="disk"):
        decompress(cast(BinaryIO, Failing())).read()


def test_readinto_fills_the_buffer() -> None:
    data = zlib.compress(b"not a gzip stream") + gzip.compress(b"")
    for stream in (decompress(io.BytesIO(data)), decompress(io.BytesIO(gzip.compress(data)))):
        buffer = bytearray(len(data) + 5)
        assert io.BufferedReader(cast(io.RawIOBase, stream)).readinto(buffer) == len(data)
        assert buffer.startswith(data)


@pytest.mark.parametrize("codec", Codec)
@pytest.mark.parametrize("step", [999, 1 << 22])
def test_packing_in_a_thread_gives_the_same_bytes_and_says_what_it_took(codec: Codec, step: int) -> None:
    data = sample(6_500_000)
    out, spent = io.BytesIO(), list[float]()
    with compressor(codec, out, spent=spent.append) as stream:
        for start in range(0, len(data), step):
            stream.write(data[start : start + step])
    assert out.getvalue() == packed(data, codec)
    assert len(spent) == 1


class _Full(io.BytesIO):
    def write(self, data: object) -> int:
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize("count", [10, 30_000_000])
def test_an_error_of_the_thread_comes_out_and_nobody_waits_for_it(count: int) -> None:
    with pytest.raises(OSError, match="No space"), compressor(Codec.NONE, _Full(), spent=lambda _: None) as stream:
        for _ in range(max(1, count // 1_000_000)):
            stream.write(bytes(min(count, 1_000_000)))


def test_an_error_elsewhere_ends_the_thread_without_an_end_of_the_stream() -> None:
    out = io.BytesIO()
    with pytest.raises(RuntimeError), compressor(Codec.GZIP, out, spent=lambda _: None) as stream:
        stream.write(sample(2_000_000))
        raise RuntimeError
    with pytest.raises(IntegrityError, match="truncated"):
        decompress(io.BytesIO(out.getvalue() or b"\x1f\x8b")).read()
