"""How long the program takes before it does anything."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

import pytest

from moby import proc

PROGRAM = Path(sys.executable).with_name("moby")
RUNS = 7


def cpu_seconds(*argv: str | Path) -> float:
    """The least CPU time of several runs: what else the machine does only adds."""
    times = []
    for _ in range(RUNS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        proc.run(argv)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


@pytest.mark.parametrize("words", [["--help"], ["version"]])
def test_the_program_starts_in_a_few_times_what_python_takes(words: list[str]) -> None:
    assert cpu_seconds(PROGRAM, *words) <= 5 * cpu_seconds(sys.executable, "-c", "pass")
