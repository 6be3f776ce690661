from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.formats import der


@given(st.recursive(st.binary(max_size=300), lambda inner: st.lists(inner, max_size=4), max_leaves=10))
def test_what_is_built_is_taken_apart(value: object) -> None:
    def build(each: object) -> bytes:
        return der.sequence(*map(build, each)) if isinstance(each, list) else der.octets(bytes(each))  # type: ignore[call-overload]

    def take(element: der.Element) -> object:
        return [take(each) for each in element.children()] if element.tag == der.SEQUENCE else element.content

    made = build(value)
    assert take(der.first(made + b"padding")) == value
    assert der.first(made).raw == made


@given(st.integers(0, 1 << 160))
def test_integers_are_shortest_and_positive(value: int) -> None:
    content = der.first(der.integer(value)).content
    assert int.from_bytes(content, "big", signed=True) == value
    assert len(content) == 1 or content[0] or content[1] & 0x80


@pytest.mark.parametrize("text", ["1.2.840.113549.1.7.2", "2.16.840.1.101.3.4.2.1", "1.3.6.1.4.1.311.2.1.4"])
def test_object_identifiers_are_those_of_other_encoders(text: str) -> None:
    known = {
        "1.2.840.113549.1.7.2": "06092a864886f70d010702",
        "2.16.840.1.101.3.4.2.1": "0609608648016503040201",
        "1.3.6.1.4.1.311.2.1.4": "060a2b060104018237020104",
    }
    assert der.oid(text).hex() == known[text]
    assert x509.ObjectIdentifier(text).dotted_string == text


def test_sets_are_sorted() -> None:
    assert der.set_of(der.octets(b"b"), der.octets(b"a")) == der.set_of(der.octets(b"a"), der.octets(b"b"))


@pytest.mark.parametrize("data", ["", "30", "3005", "30800000", "1f0101", "308501000000000000", "3082ffff00"])
def test_cut_off_and_strange_elements_are_refused(data: str) -> None:
    with pytest.raises(IntegrityError):
        der.first(bytes.fromhex(data))


@given(st.binary(max_size=60))
def test_any_bytes_give_elements_or_an_integrity_error(data: bytes) -> None:
    with contextlib.suppress(IntegrityError):
        assert b"".join(each.raw for each in der.parse(data)) == data


def test_a_missing_child_is_an_integrity_error() -> None:
    with pytest.raises(IntegrityError, match="1 elements where more"):
        der.first(der.sequence(der.null())).child(1)
