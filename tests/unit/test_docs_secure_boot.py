"""The commands of docs/secure-boot.md are ones that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.outputs import FORMATS

PAGE = (Path(__file__).parents[2] / "docs/secure-boot.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.parametrize("line", COMMANDS)
def test_the_command_is_understood(line: str) -> None:
    words = shlex.split(line)
    assert words[0] == "moby"
    name, arguments = cli.parse(words[1:])
    assert name == words[1]
    for option in (word for word in words[2:] if word.startswith("--")):
        assert option in cli.command_parser(name).format_help()
        assert hasattr(arguments, option[2:].replace("-", "_"))


def test_the_formats_it_names_are_those_of_efi() -> None:
    named = set(re.findall(r"`([a-z0-9-]+)`", PAGE[: PAGE.index("## Keys")]))
    assert named <= FORMATS.keys()
    efi = {name for name, format in FORMATS.items() if format.firmware == "efi"}
    assert efi <= named
