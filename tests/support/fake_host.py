"""A host that has an image, and a fake QEMU to run it."""

from __future__ import annotations

import io
import os
from pathlib import Path

from moby.artifact import Architecture
from moby.context import Context
from moby.machines import MACHINES, terminal
from moby.machines.machine import Machine
from moby.machines.options import RunOptions
from moby.machines.toolset import Toolset
from tests.support import fake_qemu
from tests.support.guests import POWER_OFF, prefix

TCG = RunOptions(accelerator="tcg")


class Host:
    """A directory with an image, and a fake QEMU to run it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.image = prefix(directory, POWER_OFF, name="web")
        self.context = Context(store=directory / "store", work=directory / "work")
        self.tools: Toolset | None = None

    def run(self, options: RunOptions = TCG, **behaviour: object) -> Machine:
        self.tools = fake_qemu.install(self.directory / "bin", **behaviour)  # type: ignore[arg-type]  # passed through
        return MACHINES["qemu"](self.image, options, self.context, find_qemu=self.find)

    def find(self, architecture: Architecture) -> Toolset:
        assert architecture is Architecture.AMD64
        assert self.tools is not None
        return self.tools

    @property
    def words(self) -> list[str]:
        assert self.tools is not None
        return fake_qemu.recorded(self.tools)

    def foreground(self, options: RunOptions = TCG, **behaviour: object) -> tuple[int, str]:
        self.tools = fake_qemu.install(self.directory / "bin", **behaviour)  # type: ignore[arg-type]  # passed through
        out = io.BytesIO()
        with Path(os.devnull).open("rb") as stdin:
            status = terminal.run_foreground(
                self.image, options, self.context, find_qemu=self.find, stdin=stdin, stdout=out
            )
        return status, out.getvalue().decode()
