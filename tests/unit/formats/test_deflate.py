from __future__ import annotations

import hashlib
import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.formats.deflate import deflate


@given(st.binary(max_size=5000), st.sampled_from([15, -12, -15]))
def test_zlib_inflates_it_with_the_same_window(data: bytes, window_bits: int) -> None:
    assert zlib.decompress(deflate(data * 20, window_bits=window_bits), window_bits) == data * 20


@pytest.mark.parametrize(
    ("window_bits", "digest"),
    [
        (15, "550d6fb4e0f85997633cd74d04fc845c3a84cef762c35b290cfdda086247477e"),
        (-12, "02b7d3217d95caed2ae9f89556b164dc9125cf3093f3c1ff734f8c5f250964ee"),
    ],
)
def test_bytes_are_those_of_the_pinned_library(window_bits: int, digest: str) -> None:
    source = random.Random(1)
    words = [source.randbytes(source.randrange(2, 12)) for _ in range(5000)]
    data = b" ".join(source.choices(words, k=10000)) + source.randbytes(20000)
    assert hashlib.sha256(deflate(data[:65536], window_bits=window_bits)).hexdigest() == digest
