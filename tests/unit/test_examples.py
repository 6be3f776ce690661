"""The shipped examples are valid, cover what the original's do, and name what they lack."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moby.components import catalog
from moby.config.load import parse

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.yml"))
SITUATIONS = (
    *("minimal", "sshd", "getty", "docker", "redis", "node-exporter", "static-ip", "swap", "volumes", "dm-crypt"),
    *("logging", "wireguard", "openstack", "gcp", "aws", "azure", "vmware", "packet", "tpm"),
)


def named(name: str, directory: Path | None) -> str:
    catalog.directory(name, directory)
    return "localhost/moby/component"


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_it_is_valid_and_begins_with_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert parse(text, file=path.name, templates=named).notices == ()
    assert text.startswith("# ")


def test_every_situation_of_the_original_has_one() -> None:
    assert set(SITUATIONS) <= {path.stem for path in EXAMPLES}


def test_what_has_no_component_yet_is_in_the_roadmap() -> None:
    roadmap = (ROOT / "ROADMAP.md").read_text()
    missing = {name for path in EXAMPLES for name in re.findall(r"image: linuxkit/([a-z-]+):", path.read_text())}
    assert missing, "the part of the test below has nothing to do"
    assert [name for name in sorted(missing) if f"`{name}`" not in roadmap] == []
    assert [name for name in sorted(missing) if name in catalog.names()] == []
