"""The layers of docs/architecture.md hold, and each stage uses those that its table names."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "moby"

PAGE = (Path(__file__).parents[2] / "docs" / "architecture.md").read_text()


def layers() -> list[list[str]]:
    """The page's block of layers, low to high. A module may import its own layer and those before it."""
    block = PAGE.split("```")[1]
    return [layer.split() for layer in block.split("<")]


def stages() -> dict[tuple[str, ...], set[str]]:
    """The page's table: the parts that are a stage, and the parts of other stages that they use."""
    rows = [line.split("|")[1:-1] for line in PAGE.splitlines() if re.match(r"\| \w+ \| `", line)]
    return {
        tuple(re.findall(r"`(\w+)(?:/|\.py)`", folders)): set(re.findall(r"`(\w+)`", uses))
        for _, folders, _, _, uses, _ in rows
    }


RANK = {name: rank for rank, names in enumerate(layers()) for name in names}
STAGES = stages()


def imported(path: Path) -> set[str]:
    """The parts of ``moby`` (first name below the package) that a module imports at any depth of its code."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "moby":
            below = node.module.split(".")[1:]
            found |= {below[0]} if below else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("moby.")}
    return found - {"__version__"}


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda p: str(p.relative_to(SOURCE)))
def test_imports_go_down_only(path: Path) -> None:
    own = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert own in RANK, f"{own} has no layer: add it to docs/architecture.md"
    upward = {name for name in imported(path) if RANK.get(name, -1) > RANK[own]}
    assert not upward, f"{own} may not import {sorted(upward)}"


def test_the_page_names_what_is_there() -> None:
    there = {path.stem for path in SOURCE.glob("*.py")} | {path.parent.name for path in SOURCE.glob("*/__init__.py")}
    assert set(RANK) == there
    assert len(STAGES) == 8


@pytest.mark.parametrize("stage", STAGES, ids=lambda names: names[0])
def test_stages_use_what_the_page_says(stage: tuple[str, ...]) -> None:
    paths = (path for name in stage for path in (*SOURCE.glob(f"{name}.py"), *(SOURCE / name).rglob("*.py")))
    others = {name for names in STAGES for name in names} - set(stage)
    assert {name for path in paths for name in imported(path)} & others == STAGES[stage]


def test_only_proc_starts_programs() -> None:
    users = {
        str(path.relative_to(SOURCE))
        for path in SOURCE.rglob("*.py")
        if "subprocess"
        in {
            alias.name
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Import)
            for alias in node.names
        }
    }
    assert users == {"proc.py"}


@pytest.mark.parametrize("layer", ["outputs", "formats"])
def test_outputs_and_formats_start_no_program(layer: str) -> None:
    for path in (SOURCE / layer).rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {alias.name for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for alias in node.names}
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert "proc" not in imported(path), path
        assert not names & {"subprocess", "pty", "multiprocessing"}, path
        assert not re.search(r"\bos\.(system|popen|fork|posix_spawn|exec)", path.read_text()), path
