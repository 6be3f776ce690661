"""The machines of docs/tutorial.md do what it says."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

import moby
from moby.artifact import Architecture
from moby.context import Context
from moby.machines.commandline import TCG
from moby.machines.options import RunOptions
from tests.unit.test_docs_yaml import DOCS, blocks

pytestmark = pytest.mark.boot

EMULATED = RunOptions(accelerator=TCG, architecture=Architecture.AMD64, memory_mib=512)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def files(step: int, directory: Path) -> list[Path]:
    """The YAML files of one step, written."""
    part = (DOCS / "tutorial.md").read_text().split("\n## ")[step]
    found = [(name, text) for language, name, text in blocks(part) if language == "yaml"]
    for name, text in found:
        (directory / name).write_text(text)
    return [directory / name for name, _ in found]


@pytest.mark.shows("Each step of docs/tutorial.md that serves a page", by="boot")
@pytest.mark.parametrize(("step", "page"), [(3, "It works"), (4, "Step four"), (6, "Up since"), (7, "Step seven")])
def test_the_page_is_served(step: int, page: str, tmp_path: Path) -> None:
    context, port = Context.from_environment(), free_port()
    options = moby.BuildOptions(architecture="amd64")
    made = moby.build(files(step, tmp_path), directory=tmp_path, options=options, context=context)
    with moby.run(made, publish={port: 80}, options=EMULATED, context=context) as machine:
        assert page in machine.wait_http(port).decode()
