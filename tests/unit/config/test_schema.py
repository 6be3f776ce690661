"""The JSON Schema takes what the loader takes, as far as a schema can know."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from moby.config.legacy import is_legacy
from moby.config.schema import json_schema
from moby.config.source import read
from tests.support.errorcases import Case, cases
from tests.unit.config.test_decode import EVERYTHING


def plain(text: str) -> Any:
    """A YAML text as the values that an editor sees."""
    return json.loads(json.dumps(read(text, file="f.yml").data, default=lambda _: None))


SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)
# Files of today: the schema knows no others.
CASES = [case for case in cases() if not is_legacy(plain(case.right["f.yml"]))]


def test_it_is_a_schema() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_the_whole_language_passes() -> None:
    VALIDATOR.validate(plain(EVERYTHING))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_loads_passes(case: Case) -> None:
    VALIDATOR.validate(plain(case.right["f.yml"]))


def test_wrong_keys_and_types_fail() -> None:
    told = [case for case in CASES if "not YAML" not in case.message]
    refused = [case for case in told if not VALIDATOR.is_valid(plain(case.wrong["f.yml"]))]
    assert len(refused) > 40
    for text in ("kernl: {image: k}", "kernel:", "init: [5]", "services: [{name: s}]", "files: [{path: a, mode: 1}]"):
        assert not VALIDATOR.is_valid(plain(text))


def test_every_key_is_described_and_none_may_be_null() -> None:
    for name, model in {**SCHEMA["$defs"], "Config": SCHEMA}.items():
        assert model["additionalProperties"] is False, name
        for key, value in model["properties"].items():
            described = value if "description" in value else SCHEMA["$defs"][value["$ref"].rpartition("/")[2]]
            assert described["description"], (name, key)
            assert "null" not in json.dumps(value), (name, key)


def test_an_editor_offers_capabilities() -> None:
    items = SCHEMA["$defs"]["ImageEntry"]["properties"]["capabilities"]["items"]
    assert "CAP_NET_ADMIN" in items["anyOf"][0]["enum"]


def test_its_text(golden: Callable[[str, str], None]) -> None:
    golden("config/schema.json", json.dumps(SCHEMA, indent=2) + "\n")
