from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.formats.jsonstream import members

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=12,
)


def flat(document: dict[str, object]) -> list[tuple[str, object]]:
    return [(key, each) for key, value in document.items() for each in (value if isinstance(value, list) else (value,))]


@given(st.dictionaries(st.text(), _JSON), st.sampled_from([None, 1]))
def test_gives_the_members_and_the_elements_of_lists(document: dict[str, object], indent: int | None) -> None:
    assert list(members(json.dumps(document, indent=indent))) == flat(document)


@given(st.dictionaries(st.text(min_size=2), _JSON), _JSON)
def test_goes_into_the_object_it_is_told(document: dict[str, object], other: object) -> None:
    text = json.dumps({"a": other, "p": {"b": other, "q": document}, "z": other}, indent=1)
    assert list(members(text, ("p", "q"))) == flat(document)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a" 1}', '{"a": [1 2]}', "{1: 2}", '{"a": 1,', "[" * 100_000])
def test_refuses_what_is_no_object(text: str) -> None:
    with pytest.raises(ValueError):
        list(members(text))


def test_refuses_endless_nesting() -> None:
    with pytest.raises(ValueError, match="too deep"):
        list(members('{"a": ' + "[" * 100_000))
