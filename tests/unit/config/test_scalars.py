from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config.scalars import is_date, resolve, spell
from moby.config.source import read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("0644", 420), ("0o755", 493), ("010", 8), ("0x1F", 31), ("0b101", 5), ("-0x10", -16), ("+7", 7), ("0", 0)),
        *(("1_000", 1000), ("-5", -5), ("18446744073709551615", 18446744073709551615)),
        *(("1.0", 1), ("1e3", 1000), (".5", 0.5), ("08", 8), ("2.5", 2.5), ("-.5", -0.5), ("1e400", math.inf)),
        *(("true", True), ("TRUE", True), ("False", False)),
        *(("", None), ("~", None), ("null", None), ("NULL", None)),
        *((".inf", math.inf), ("-.Inf", -math.inf)),
    ],
)
def test_typed_scalars(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        *("on", "off", "yes", "no", "y", "N", "On", "22:22", "1:30:00", "2017-03-19", "2017-03-19 10:00:00"),
        *("1.2.3", "10.0.0.1", "0o9", "0x", "--5", "+-1", "-", "+", ".", "...", ".e5", "1e", "nUll", "tRue", "_1", "a"),
    ],
)
def test_everything_else_is_text(text: str) -> None:
    assert resolve(text) == text


def test_an_integer_beyond_64_bits_is_a_float() -> None:
    assert isinstance(resolve("99999999999999999999"), float)


def test_a_huge_number_stays_text() -> None:
    assert isinstance(resolve("1" * 100_000), str)


@given(st.integers(min_value=-(1 << 63), max_value=(1 << 64) - 1))
def test_decimal_integers_round_trip(number: int) -> None:
    assert resolve(str(number)) == number


@given(st.integers(min_value=0, max_value=(1 << 63) - 1))
def test_all_bases_agree(number: int) -> None:
    assert {resolve(f"0x{number:x}"), resolve(f"0b{number:b}"), resolve(f"0o{number:o}")} == {number}
    assert resolve(f"0{number:o}") == number


@given(st.text(max_size=30))
def test_resolving_never_fails(text: str) -> None:
    resolve(text)
    is_date(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        *(("2017-03-19", True), ("2017-3-9", True), ("2017-13-01", False), ("2017-02-30", False), ("17-03-19", False)),
        *(("2017-03-19T10:00:00Z", True), ("2017-03-19 10:00:00.5", True), ("2017-03-19T10", False), ("x", False)),
    ],
)
def test_dates(text: str, expected: bool) -> None:
    assert is_date(text) is expected


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        *(("nginx:1.27", "nginx:1.27"), ("/a:/b", "/a:/b"), ("A=b c", "A=b c"), ("yes", "yes")),
        *(("@pkg:x", '"@pkg:x"'), ("5", '"5"'), ("true", '"true"'), ("", '""'), ("a: b", '"a: b"'), ("a:", '"a:"')),
        *(("2017-03-19", '"2017-03-19"'), ("22:22", '"22:22"'), ("1:30:00", '"1:30:00"'), ("80:90", "80:90")),
        *(("\x7f\x85", '"\\u007f\\u0085"'), ("a\u2028b", '"a\\u2028b"'), ("\U000e0001é", '"\\U000e0001é"')),
        *(('say "x"', '"say \\"x\\""'), ("a #b", '"a #b"'), ("a,b", '"a,b"'), ("~", '"~"')),
    ],
)
def test_a_text_is_spelt_plainly_where_that_is_safe(text: str, spelt: str) -> None:
    assert spell(text) == spelt


@given(st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_text_as_it_is_spelt_is_read_as_that_text(text: str) -> None:
    assert spell(text).isprintable()
    held = read(f"{{list: [{spell(text)}, x], key: {spell(text)}}}", file="f.yml").data
    assert held == {"list": (text, "x"), "key": text}
    assert read(f"list:\n  - {spell(text)}\nkey: {spell(text)}\n", file="f.yml").data == {"list": (text,), "key": text}
