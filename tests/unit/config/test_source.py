from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config import source
from moby.config.places import Mark
from moby.config.source import NULL, read
from moby.errors import ConfigError


def data(text: str) -> object:
    document = read(text, file="f.yml")
    assert not document.faults
    return document.data


def faults(text: str) -> list[str]:
    document = read(text, file="f.yml")
    return [str(each) for each in document.places.errors(document.faults)]


def refusal(text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        read(text, file="f.yml")
    return str(caught.value)


def test_unquoted_scalars_follow_our_rules_and_quoted_ones_are_text() -> None:
    text = "a: 22:22\nb: on\nc: 2017-03-19\nd: 0o755\ne: 0644\nf: 1.0\ng: '5'\nh: \"true\"\ni: !!str 5\n"
    assert data(text) == {
        **{"a": "22:22", "b": "on", "c": "2017-03-19", "d": 493, "e": 420, "f": 1},
        **{"g": "5", "h": "true", "i": "5"},
    }


def test_null_is_told_from_absent() -> None:
    assert data("a:\nb: ~\nc: ''\n") == {"a": NULL, "b": NULL, "c": ""}


def test_lists_are_tuples_and_json_is_yaml() -> None:
    assert data('{"a": [1, "x"], "b": {"c": []}}') == {"a": (1, "x"), "b": {"c": ()}}


def test_keys_are_text() -> None:
    assert data("on: 1\n5: 2\n'x y': 3\n") == {"on": 1, "5": 2, "x y": 3}


def test_anchors_and_merge_keys() -> None:
    text = "b: &b {x: 1, y: 2}\nc: {<<: *b, y: 3}\nd: {<<: [*b, {x: 9, z: 4}], w: 5}\ne: [*b]\n"
    assert data(text) == {
        "b": {"x": 1, "y": 2},
        "c": {"y": 3, "x": 1},
        "d": {"w": 5, "x": 1, "y": 2, "z": 4},
        "e": ({"x": 1, "y": 2},),
    }


def test_merge_keys_nest_and_a_quoted_one_is_plain() -> None:
    assert data("a: &a {x: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b}\nd: {'<<': 1}\n") == {
        **{"a": {"x": 1}, "b": {"y": 2, "x": 1}, "c": {"y": 2, "x": 1}},
        "d": {"<<": 1},
    }


def test_every_value_and_key_has_its_place() -> None:
    places = read("a:\n  - b: é\n    c: [1, x]\n", file="f.yml").places
    assert places.values["a", 0, "b"] == Mark("f.yml", 2, 8)
    assert places.keys["a", 0, "c"] == Mark("f.yml", 3, 5)
    assert places.values["a", 0, "c", 1] == Mark("f.yml", 3, 12)
    assert places.written["a", 0, "c", 0] == "1"


def test_a_merged_value_has_the_place_of_its_definition() -> None:
    assert read("a: &a {x: 1}\nb: {<<: *a}\n", file="f.yml").places.values["b", "x"] == Mark("f.yml", 1, 11)


def test_only_the_first_document_counts_and_that_is_said() -> None:
    document = read("a: 1\n---\nb: [\n", file="f.yml")
    assert document.data == {"a": 1}
    assert document.notices == ("f.yml: only the first of its YAML documents is used",)
    assert read("a: 1\n...\n", file="f.yml").notices == ()


def test_faults_of_the_text_are_collected() -> None:
    assert faults("a: 1\na: 2\nb: !!int x\nc: !foo y\nd: {<<: 1}\n? [e]\n: f\n") == [
        "f.yml:2:1: key 'a' is given twice, first in line 1 (remove one of them)",
        "f.yml:3:4 (b): 'x' is not an integer, as its tag says (remove the tag or mend the value)",
        "f.yml:4:4 (c): unknown tag !foo (remove the tag)",
        "f.yml:5:4 (d): << needs a mapping or a list of mappings (write <<: *NAME, where &NAME marks a mapping)",
        "f.yml:6:3: a key must be plain text, not a list or mapping (write KEY: VALUE)",
    ]


def test_tags_of_collections() -> None:
    assert data("a: !!map {b: !!seq [1]}\nc: !!null ~\nd: !!float 2\ne: !!bool true\n") == {
        **{"a": {"b": (1,)}, "c": NULL, "d": 2, "e": True},
    }
    assert "unknown tag !!set" in faults("a: !!set {b}\n")[0]


def test_a_byte_order_mark_is_skipped() -> None:
    assert read(b"\xef\xbb\xbfa: 1\n", file="f.yml").data == {"a": 1}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "\n\n"])
def test_empty_files_are_refused(text: str) -> None:
    assert refusal(text).startswith("f.yml: the file is empty")


def test_aliases_that_explode_are_refused() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 10))
    assert "expands to more than 200000 values" in refusal("l0: &l0 [x]\n" + levels)


def test_aliases_of_long_text_are_refused() -> None:
    assert "Mi characters" in refusal(f"a: &a {'x' * (1 << 20)}\nb: [{', '.join(['*a'] * 70)}]\n")


def test_merge_keys_that_explode_are_refused() -> None:
    levels = "".join(f"l{n}: &l{n} {{<<: [{', '.join([f'*l{n - 1}'] * 10)}]}}\n" for n in range(1, 10))
    assert "expands to more than 200000 values" in refusal("l0: &l0 {x: 1}\n" + levels)


@pytest.mark.parametrize("text", ["a: &a [*a]\n", "a: &a {b: *a}\n", "a: &a {<<: *a}\n", "a: " + "[" * 60 + "]" * 60])
def test_deep_and_endless_nesting_is_refused(text: str) -> None:
    assert "nested more than 50 deep" in refusal(text)


@pytest.mark.parametrize("text", ["[" * 100_000, "- " * 100_000, "? " * 100_000])
def test_absurd_nesting_is_refused_by_the_parser(text: str) -> None:
    assert "nested too deep" in refusal(text)


def test_big_files_are_refused() -> None:
    assert "more than 16 MiB" in refusal(b"#" * (source.MAX_BYTES + 1))


def test_other_encodings_are_refused_with_their_place() -> None:
    assert refusal(b"a: 1\nb: \xff\n").startswith("f.yml:2:4: not UTF-8 text")
    assert "not Unicode text" in refusal("a: \ud800")


@given(st.text(max_size=80))
def test_any_text_gives_a_document_or_a_config_error(text: str) -> None:
    try:
        read(text, file="f.yml")
    except ConfigError as error:
        assert error.where.startswith("f.yml")


_VALUES = st.recursive(
    st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"), max_size=8)
    | st.integers(-1000, 1000)
    | st.booleans(),
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text("abc", min_size=1), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), _VALUES, min_size=1, max_size=4))
def test_json_reads_as_what_it_says(value: dict[str, object]) -> None:
    import json

    assert read(json.dumps(value, ensure_ascii=False), file="f.yml").data == value


def test_base64_text_is_text() -> None:
    assert read("a: !!binary w7wK\nb: !!binary |\n  aGVs\n  bG8=\n", file="f.yml").data == {"a": "ü\n", "b": "hello"}


@pytest.mark.parametrize(
    ("text", "what"),
    [("_w==", "!!binary is not base64"), ("é", "!!binary is not base64"), ("/w==", "!!binary is not UTF-8 text")],
)
def test_base64_that_is_no_text_is_refused(text: str, what: str) -> None:
    assert what in faults(f"a: !!binary {text}\n")[0]
