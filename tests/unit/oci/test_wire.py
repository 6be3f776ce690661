"""What is read from JSON that somebody else wrote, and that reading it loads no library."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from moby import proc
from moby.oci.wire import Fields, Malformed, digest, loads, mapping, number, size, text, texts, tuple_of


@pytest.mark.parametrize(
    ("read", "value", "why"),
    [
        (text, 1, "here: should be a string"),
        (text, "\ud800", "here: has half of a character"),
        (texts, {"a": None}, "here.a: should be a string"),
        (texts, {"\udfff": "a"}, "here: has half of a character"),
        (mapping, [], "here: should be an object"),
        (number, True, "here: should be a whole number"),
        (number, 1.0, "here: should be a whole number"),
        (size, -1, "here: should be a number of bytes"),
        (size, 1 << 63, "here: should be a number of bytes"),
        (digest, "sha256:0", "here: 'sha256:0' is not a digest"),
        (tuple_of(text), "ab", "here: should be a list"),
        (tuple_of(text), ["a", 1], "here.1: should be a string"),
        (tuple_of(text, most=1), ["a", "b"], "here: should have at most 1 entries, not 2"),
        (lambda value, place: Fields(value, place).need("a", text), {}, "here.a: is missing"),
        (lambda value, place: Fields(value, place).get("a", text, ""), {"a": None}, "here.a: should be a string"),
    ],
)
def test_what_does_not_belong_is_refused_with_its_place(
    read: Callable[[object, str], object], value: object, why: str
) -> None:
    with pytest.raises(Malformed) as caught:
        read(value, "here")
    assert str(caught.value).startswith(why)


@pytest.mark.parametrize("data", [b"", b"\xff", '"a"'.encode("utf-16"), b"[" * 100_000, b"9" * 5_000])
def test_what_is_not_json_in_utf8_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed, match="document: not JSON"):
        loads(data)


def test_absent_null_and_empty_are_told_apart() -> None:
    fields = Fields({"null": None, "empty": []})
    read = tuple_of(text)
    default: tuple[str, ...] = ("x",)
    assert [fields.option(name, read) for name in ("absent", "null", "empty")] == [None, None, ()]
    assert [fields.get(name, read, default) for name in ("absent", "null", "empty")] == [("x",), (), ()]


def test_a_pull_loads_no_library_to_read_documents_with() -> None:
    pull = "import sys, moby.cli.cache_pull, moby.oci.remote, moby.oci.pull, moby.oci.session"
    said = proc.run([sys.executable, "-c", f"{pull}; print('pydantic' in sys.modules)"])
    assert said.strip() == b"False"
