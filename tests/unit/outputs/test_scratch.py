"""Directories of killed builds go away; those of living builds, and of other programs, stay."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import moby
from moby.context import Context
from moby.oci.store import Store
from moby.outputs.scratch import scratch, sweep

LOCK = ".moby-build.lock"
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
    young, old, full = (tmp_path / f".moby-build-{name}" for name in ("young_01", "old_0001", "full_001"))
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
    (elsewhere / LOCK).write_text("")
    (place / ".moby-build-link_001").symlink_to(elsewhere)
    trap = place / ".moby-build-trap_001"
    trap.mkdir()
    (trap / LOCK).symlink_to(elsewhere / "file")
    (place / ".moby-build-file_001").write_text("a file")
    sweep(place)
    assert (elsewhere / "file").read_text() == "precious"
    assert (place / ".moby-build-file_001").exists()
    assert trap.exists()


@pytest.mark.shows(
    "A build leaves alone what is called almost like its own directories, an image store for one", by="fault"
)
def test_a_store_beside_the_outputs_survives_a_build(tmp_path: Path) -> None:
    context = Context.from_environment({"HOME": str(tmp_path), "MOBY_CACHE": str(tmp_path / ".moby-cache")})
    store = Store(context.store)
    store.tag("localhost/precious:1", blob := store.ingest(io.BytesIO(b"precious")))
    (tmp_path / "a.yml").write_text("files: [{path: etc/x, contents: hi}]\n")
    moby.build(tmp_path / "a.yml", directory=tmp_path, context=context)
    with store.open_blob(blob.digest) as stream:
        assert stream.read() == b"precious"


@pytest.mark.parametrize(
    "name", [".moby-cache", ".moby-x", ".moby-build-", ".moby-build-notes", ".moby-build-abcd1234x"]
)
@pytest.mark.parametrize("lock", [LOCK, ".lock", None])
def test_directories_of_other_names_are_not_touched(name: str, lock: str | None, tmp_path: Path) -> None:
    place = tmp_path / name
    place.mkdir()
    if lock:
        (place / lock).touch()
    os.utime(place, (OLD_S, OLD_S))
    sweep(tmp_path)
    assert [each.name for each in place.iterdir()] == ([lock] if lock else [])


def test_the_directories_of_builds_are_what_is_looked_for(tmp_path: Path) -> None:
    with scratch(tmp_path) as folder:
        assert re.fullmatch(r"\.moby-build-[a-z0-9_]{8}", folder.name)
        assert [each.name for each in folder.iterdir()] == [LOCK]
