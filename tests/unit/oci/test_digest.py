from __future__ import annotations

import hashlib
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.oci.digest import Digest, VerifiedReader


@given(st.binary(max_size=100), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_survives_its_text(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert Digest.parse(str(digest)) == digest
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "sha256:abc", "md5:" + "0" * 32, "sha256:" + "A" * 64, "sha256:" + "0" * 65, "0" * 64,
     "sha256:" + "0" * 63 + "\n", "sha256:../../../etc/passwd", "sha512:" + "0" * 64, "SHA256:" + "0" * 64],
)  # fmt: skip
def test_refuses_what_is_not_a_digest(text: str) -> None:
    with pytest.raises(IntegrityError, match="is not a digest"):
        Digest.parse(text)


def reader(data: bytes, expected: bytes, size: int | None = None) -> io.BufferedReader:
    length = len(expected) if size is None else size
    return io.BufferedReader(VerifiedReader(io.BytesIO(data), Digest.of(expected), length, where="blob"))


@given(st.binary(max_size=300), st.integers(min_value=1, max_value=50))
def test_a_verified_reader_gives_the_right_bytes_unchanged(data: bytes, step: int) -> None:
    stream = reader(data, data)
    assert b"".join(iter(lambda: stream.read(step), b"")) == data


def test_a_verified_reader_raises_before_it_reports_the_end() -> None:
    stream = reader(b"hello", b"jello")
    assert stream.read(5) == b"hello"
    with pytest.raises(IntegrityError) as caught:
        stream.read(1)
    assert str(Digest.of(b"jello")) in str(caught.value)
    assert str(Digest.of(b"hello")) in str(caught.value)
    assert "(5 bytes)" in str(caught.value)


def test_a_verified_reader_refuses_more_bytes_than_announced() -> None:
    with pytest.raises(IntegrityError, match=r"\(4 bytes\), got"):
        reader(b"hello", b"hell").read()


def test_a_verified_reader_refuses_fewer_bytes_than_announced() -> None:
    with pytest.raises(IntegrityError, match=r"\(6 bytes\), got sha256:[0-9a-f]+ \(5 bytes\)"):
        reader(b"hello", b"hello", 6).read()


def test_check_gives_the_bytes_or_shows_both_digests() -> None:
    assert Digest.of(b"a").check(b"a") == b"a"
    with pytest.raises(IntegrityError, match="manifest of x: content does not match its digest"):
        Digest.of(b"a").check(b"b", where="manifest of x")
