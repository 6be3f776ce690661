"""Our codecs give the same bytes whatever CPU they find: their libraries choose their code by it."""

from __future__ import annotations

import os
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from moby import proc
from moby.artifact import Architecture
from moby.components.packages import Packages
from moby.components.recipe import Recipe
from moby.components.tools import Tools
from moby.context import Context
from tests.support import codecs

ROOT = Path(__file__).parents[3]
GOLDEN = Path(__file__).parents[2] / "golden/codecs.txt"
LIBRARIES = ("zstandard", "zlib-ng")
PYTHON = "3.13"  # that of tests/emulation
WHEELS = "manylinux2014_aarch64"


@pytest.fixture(scope="module")
def emulation() -> Path:
    """A root with QEMU's user mode, statically linked, and with a Python for arm64."""
    context = Context.from_environment()
    recipe = Recipe.load(ROOT / "tests/emulation")
    return Tools(context, Packages(context)).unpacked(recipe, Architecture.AMD64)


def arm64_libraries() -> Path:
    """The codecs for arm64, in the versions that are installed here; downloaded at the first use."""
    wanted = [f"{name}=={version(name)}" for name in LIBRARIES]
    folder = Context.from_environment().work / "judges" / "-".join(["arm64", PYTHON, *wanted])
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        beside = folder.with_name(f".{folder.name}-{os.getpid()}")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        target = ["--platform", WHEELS, "--python-version", PYTHON, "--implementation", "cp"]
        proc.run([*pip, *target, "--dest", beside, *wanted])
        for wheel in list(beside.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(beside)
        beside.rename(folder)
    return folder


def told(words: list[str | Path], *path: Path) -> str:
    """What an emulated Python says about the codecs; ``path`` is where its libraries are."""
    environment = {"PYTHONPATH": os.pathsep.join(map(str, (ROOT / "src", ROOT, *path))), "PYTHONDONTWRITEBYTECODE": "1"}
    return proc.run([*words, "-m", "tests.support.codecs"], env=environment, timeout_s=600).decode()


def test_packed_bytes_are_the_golden_ones() -> None:
    assert "\n".join(codecs.hashes()) + "\n" == GOLDEN.read_text()


@pytest.mark.long
@pytest.mark.network
@pytest.mark.parametrize("model", ["qemu64", "Nehalem", "Haswell"])
def test_packed_bytes_are_the_same_on_another_cpu(emulation: Path, model: str) -> None:
    assert told([emulation / "usr/bin/qemu-x86_64", "-cpu", model, sys.executable]) == GOLDEN.read_text()


@pytest.mark.long
@pytest.mark.network
@pytest.mark.shows("Outputs are packed to the same bytes by other CPUs, arm64 among them (QEMU's user mode)", by="peer")
def test_packed_bytes_are_the_same_on_arm64(emulation: Path) -> None:
    words: list[str | Path] = [
        emulation / "usr/bin/qemu-aarch64",
        "-L",
        emulation,
        emulation / f"usr/bin/python{PYTHON}",
    ]
    assert told(words, arm64_libraries()) == GOLDEN.read_text()
