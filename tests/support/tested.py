"""What the tests show, and how: the table of docs/tested.md, read from the ``shows`` markers without running anything.

    @pytest.mark.shows("A killed service is back within 2 s", by="boot")

``by`` is ``boot`` (a machine of ours ran), ``peer`` (an outside tool or server judged it), ``fake``, or ``fault`` (the
real thing, with something going wrong on purpose).

    python -m tests.support.tested > docs/tested.md
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).parents[1]
WAYS = {
    "boot": "Booted in the tests",
    "peer": "Tested against a real counterpart",
    "fake": "Tested against a fake",
    "fault": "Tested with faults made on purpose",
}
HEAD = """\
# What is tested how

Made from the tests by `python -m tests.support.tested`; a test compares. Machines run in QEMU's emulator (TCG); a
counterpart is a program or server that is not ours.
"""


@dataclass(frozen=True, order=True)
class Shown:
    """One feature, the way it is shown and the test that shows it."""

    by: str
    feature: str
    test: str


def shown() -> list[Shown]:
    """Everything the tests are marked to show, sorted."""
    return sorted(each for path in TESTS.rglob("test_*.py") for each in _marks(path))


def _marks(path: Path) -> Iterator[Shown]:
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        for mark in node.decorator_list:
            if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.shows":
                (feature,) = (ast.literal_eval(each) for each in mark.args)
                ((_, by),) = ((each.arg, ast.literal_eval(each.value)) for each in mark.keywords)
                assert by in WAYS, f"{path}: {by!r} is none of {', '.join(WAYS)}"
                yield Shown(by, feature, f"tests/{path.relative_to(TESTS)}")


def page() -> str:
    """docs/tested.md."""
    found = shown()
    parts = [HEAD]
    for by, title in WAYS.items():
        rows = [f"| {each.feature} | `{each.test}` |" for each in found if each.by == by]
        if rows:
            parts.append("\n".join([f"## {title}\n", "| Feature | Test |", "|---|---|", *rows]) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    print(page(), end="")
