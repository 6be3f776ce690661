"""Compiles the guest's C sources for this host: with sanitizers by the host's gcc, else by the packaged compiler."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from moby import proc
from moby.artifact import host_architecture
from moby.components.packages import Packages
from moby.components.tools import Tools
from moby.context import Context
from moby.errors import CommandError

RECIPE = Path(__file__).parents[3] / "pkg/init"
# The programs look for everything below their current directory.
_FLAGS = ("-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-O1", '-DPREFIX="."')
_SANITIZERS = ("-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")


def recipe_programs() -> dict[str, list[str]]:
    """Output → sources, as build.yml has them."""
    recipe: Any = yaml.safe_load((RECIPE / "build.yml").read_text())
    return {program["output"]: program["sources"] for program in recipe["compile"]}


def parts() -> list[str]:
    """Every source but those with a ``main``."""
    sources = {source for each in recipe_programs().values() for source in each}
    return sorted(sources - {"src/init.c", "src/svc.c", "src/net.c"})


def build(directory: Path) -> None:
    """``unit``, ``fuzz`` and ``svc`` in ``directory``. Raises ``CommandError`` with the compiler's messages."""
    svc = next(sources for output, sources in recipe_programs().items() if output.endswith("/svc"))
    compile_sources(directory / "svc", svc, RECIPE)
    compile_sources(directory / "unit", ["test/unit.c", *parts()], RECIPE)
    compile_sources(directory / "fuzz", ["test/fuzz.c", *parts()], RECIPE)


@cache
def _gcc_flags() -> tuple[str, ...]:
    if shutil.which("gcc") is None:
        return ()
    try:
        proc.run(["gcc", *_SANITIZERS, "-xc", "-", "-o", "/dev/null"], stdin=b"int main(void) { return 0; }\n")
    except CommandError:
        return ()
    return (*_FLAGS, *_SANITIZERS)


@cache
def _packaged() -> Any:
    context = Context.from_environment()
    architecture = host_architecture()
    assert architecture is not None
    return Tools(context, Packages(context)).compiler(architecture)


def compile_sources(output: Path, sources: Sequence[str], recipe: Path) -> None:
    """Compile ``sources`` of the directory ``recipe`` into the program ``output``. Raises as ``build``."""
    if flags := _gcc_flags():
        proc.run(["gcc", *flags, "-o", output, *sources], cwd=recipe)
    else:
        _packaged().build(sources, _FLAGS, output, recipe)
