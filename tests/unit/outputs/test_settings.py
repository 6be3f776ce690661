"""Sizes as the original spells them."""

from __future__ import annotations

import pytest

from moby.errors import ConfigError
from moby.outputs import parse_size


@pytest.mark.parametrize(("text", "size"), [("512M", 512 << 20), ("2G", 2 << 30), ("1", 1 << 30), ("3g", 3 << 30)])
def test_a_size_without_unit_is_in_gib(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "12K", "-1", "1.5G", "M"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="unable to parse disk size"):
        parse_size(text)
