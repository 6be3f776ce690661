"""Every example is built and booted until its services run; the power button ends it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

import moby
from moby.artifact import Architecture
from moby.context import Context
from moby.machines.commandline import TCG
from moby.machines.options import RunOptions
from moby.options import BuildOptions

pytestmark = pytest.mark.boot

EXAMPLES = Path(__file__).parents[2] / "examples"
# Those whose images are all made here; the others need a registry.
OWN = [path for path in sorted(EXAMPLES.glob("*.yml")) if not re.search(r"^ +image: [^\"]", path.read_text(), re.M)]


def boot(example: Path, directory: Path, architecture: Architecture) -> None:
    context = Context.from_environment()
    artifacts = moby.build(
        example, directory=directory, options=BuildOptions(architecture=architecture), context=context
    )
    options = RunOptions(accelerator=TCG, architecture=architecture, memory_mib=512)
    with moby.run(artifacts, options=options, context=context) as machine:
        for service in yaml.safe_load(example.read_text())["services"]:
            machine.wait_console(f"service {service['name']} started", timeout_s=90)
        # Without ACPI an arm64 machine has no power button.
        assert architecture is Architecture.ARM64 or machine.stop(timeout_s=30) == 0


@pytest.mark.parametrize("example", OWN, ids=lambda path: path.stem)
def test_example_boots_and_powers_off(example: Path, tmp_path: Path) -> None:
    boot(example, tmp_path, Architecture.AMD64)


@pytest.mark.long
def test_web_example_boots_on_arm64(tmp_path: Path) -> None:
    boot(EXAMPLES / "web.yml", tmp_path, Architecture.ARM64)
