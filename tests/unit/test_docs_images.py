"""The commands of docs/images.md are ones that the program takes, and its lock is one that can be read."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.oci.reference import Reference
from moby.pins import Pins

PAGE = (Path(__file__).parents[2] / "docs/images.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_is_understood(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "moby"
    assert cli.parse(words[1:])[0] == words[1]


def test_every_option_is_one_of_the_program_s() -> None:
    listed = "".join(cli.command_parser(name).format_help() for name in ("build", "lock"))
    options = set(re.findall(r"`(--[a-z-]+)", PAGE))
    cache = Path(cli.__file__).with_name("cache.py").read_text()
    assert {each for each in options if each not in listed and f'"{each}"' not in cache} == set()


def test_the_lock_reads_as_shown() -> None:
    (block,) = re.findall(r"```\n(docker\.io/.*?)```", PAGE, re.DOTALL)
    assert Pins.parse(block).render().endswith(block)


def test_the_names_are_references() -> None:
    table = PAGE[PAGE.index("| Written as") : PAGE.index("A file's path")]
    rows = [row for row in table.splitlines()[2:] if row.startswith("|")]
    written = [name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])]
    names = [name for name in written if not set(name) & set("…[")]
    assert len(names) > 5
    for name in names:
        assert Reference.parse(name).expanded
