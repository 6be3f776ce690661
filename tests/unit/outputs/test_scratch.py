"""Directories of killed builds go away; those of living builds, and of other programs, stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moby.outputs.scratch import scratch, sweep

OLD_S = time.time() - 3600
_HOLD = """
import sys, time
from pathlib import Path
from moby.outputs.scratch import scratch
with scratch(Path(sys.argv[1])) as folder:
    (folder / "half").write_bytes(b"x")
    print(folder, flush=True)
    time.sleep(60)
"""


def holder(place: Path) -> tuple[subprocess.Popen[str], Path]:
    """A build of another process, and its directory."""
    process = subprocess.Popen([sys.executable, "-c", _HOLD, str(place)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def test_nothing_is_left_after_a_build_or_its_failure(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        (folder / "a").mkdir()
    with pytest.raises(KeyError), scratch(tmp_path) as folder:
        raise KeyError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.shows(
    "The next build removes what a killed build left beside its outputs, but nothing of a living one", by="fault"
)
def test_what_a_killed_build_left_goes_when_the_next_begins(tmp_path: Path) -> None:
    process, left = holder(tmp_path)
    try:
        with scratch(tmp_path):
            assert (left / "half").exists()
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert left.exists()
        with scratch(tmp_path) as folder:
            assert [each for each in tmp_path.iterdir()] == [folder]
    finally:
        process.kill()
        process.communicate()


def test_a_directory_without_a_lock_goes_when_it_is_old_and_empty(tmp_path: Path) -> None:
    young, old, full = (tmp_path / f".moby-{name}" for name in ("young", "old", "full"))
    for each in (young, old, full):
        each.mkdir()
    (full / "notes").write_text("not ours")
    for each in (old, full):
        os.utime(each, (OLD_S, OLD_S))
    sweep(tmp_path)
    assert sorted(tmp_path.iterdir()) == [full, young]


def test_links_are_not_followed(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / "place", tmp_path / "elsewhere"
    place.mkdir()
    elsewhere.mkdir()
    (elsewhere / "file").write_text("precious")
    (elsewhere / ".lock").write_text("")
    (place / ".moby-link").symlink_to(elsewhere)
    trap = place / ".moby-trap"
    trap.mkdir()
    (trap / ".lock").symlink_to(elsewhere / "file")
    (place / ".moby-file").write_text("a file")
    sweep(place)
    assert (elsewhere / "file").read_text() == "precious"
    assert (place / ".moby-file").exists()
    assert trap.exists()
