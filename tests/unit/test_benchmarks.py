"""The benchmark of builds runs and measures what it says. How long anything takes is no matter here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import builds, cost

CASES = {
    "cold segments",
    "nothing changed",
    "one line of `files:`",
    "one line of a service",
    "one file of a component",
}


def test_every_case_is_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = tmp_path / "figures.json"
    words = f"--work {tmp_path} --sets many2 --formats kernel+initrd --rounds 1 --generated --json {figures}"
    builds.main(words.split())
    told = json.loads(figures.read_text())["many2"]
    assert set(told["kernel+initrd"]) == CASES
    assert 12 < told["tar_mb"] < 30
    assert all(each["peak_mib"] > 10 for each in told["kernel+initrd"].values())
    assert "| `zstd -3` |" in capsys.readouterr().out


def test_growth_shows_the_most_memory_of_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    costs = {name: cost.Cost(wall_s=1, cpu_s=2, peak_mib=number) for number, name in enumerate(sorted(CASES))}
    builds.growth({"big": (661.4, {"tar": costs})}, "tar")
    assert "| big | 661 | 2.00 | 1.00 | 2.00 | 4 |" in capsys.readouterr().out


def test_memory_is_that_of_all_processes() -> None:
    hold = "held = bytearray(b'x') * (64 << 20)"
    below = f"import time; {hold}; time.sleep(0.3)"
    code = f"import subprocess, sys; {hold}; subprocess.run([sys.executable, '-c', {below!r}])"
    found = cost.measure([sys.executable, "-c", code], Path(), dict(os.environ))
    assert 128 < found.peak_mib < 256


def test_a_process_that_ended_holds_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    assert list(cost.family(child.pid)) == [child.pid]
    assert cost.share_mib(child.pid) == 0
    assert cost.highest_mib(child.pid) == 0


def test_an_unknown_set_is_refused() -> None:
    with pytest.raises(SystemExit, match="no set 'huge'"):
        builds.main(["--sets", "huge"])
