from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from moby import proc, unchanged
from moby.artifact import Architecture, Artifact, Firmware
from moby.oci.store import Store
from moby.unchanged import Inputs, Note
from tests.support.images import image

AGE_S = 0.05


class Build:
    """A build that reads one file and writes another."""

    def __init__(self, folder: Path) -> None:
        self.source, self.output, self.folder = folder / "source", folder / "output", folder / "notes"
        self.source.write_text("1")
        time.sleep(AGE_S)
        self.environment = {"HOME": "/", "TERM": "x"}
        self.words = ["build", "a.yml"]
        self.run()

    def note(self) -> Note:
        return Note(self.folder, self.words, self.environment)

    def run(self, *, spoil: bool = False, during: Callable[[], object] = bool) -> None:
        with unchanged.collecting():
            inputs = unchanged.inputs()
            inputs.add(self.source)
            inputs.add(self.source.with_name("absent"))
            inputs.add_tree(self.source.with_name("tree"))
            inputs.spoilt = spoil
            during()
            self.output.write_text(self.source.read_text())
        self.note().write(inputs, (self.artifact(),))

    def artifact(self) -> Artifact:
        return Artifact(
            name="a",
            format="tar",
            architecture=Architecture.AMD64,
            firmware=Firmware.NONE,
            files=(("tar", self.output),),
            size_bytes=1,
        )


@pytest.fixture
def build(tmp_path: Path) -> Build:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_text("x")
    return Build(tmp_path)


def test_what_was_not_touched_is_known(build: Build) -> None:
    assert build.note().find() == (build.artifact(),)


def test_only_some_variables_have_a_say(build: Build) -> None:
    build.environment["TERM"] = "y"
    assert build.note().find() is not None
    build.environment["MOBY_CC"] = "gcc"
    assert build.note().find() is None


def same_size_same_time(path: Path) -> None:
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    path.write_text("2")
    os.utime(path, ns=times)


@pytest.mark.parametrize(
    "change",
    [
        lambda build: same_size_same_time(build.source),
        lambda build: build.source.unlink(),
        lambda build: build.source.with_name("absent").touch(),
        lambda build: same_size_same_time(build.source.with_name("tree") / "file"),
        lambda build: (build.source.with_name("tree") / "new").touch(),
        lambda build: same_size_same_time(build.output),
        lambda build: build.output.unlink(),
        lambda build: build.output.chmod(0o600),
        lambda build: [path.write_text("{") for path in build.folder.iterdir()],
    ],
)
def test_whatever_was_touched_is_not(build: Build, change: Callable[[Build], object]) -> None:
    change(build)
    assert build.note().find() is None


def test_there_is_no_note_of_inputs_that_changed_during_the_build_or_just_before(tmp_path: Path) -> None:
    build = Build.__new__(Build)
    build.source, build.output, build.folder = tmp_path / "source", tmp_path / "output", tmp_path / "notes"
    build.environment, build.words = {}, ["build"]
    build.source.write_text("1")
    build.run()
    assert build.note().find() is None
    time.sleep(AGE_S)
    build.run(during=lambda: build.source.write_text("2"))
    assert build.note().find() is None
    time.sleep(AGE_S)
    build.run(spoil=True)
    assert build.note().find() is None
    build.run()
    assert build.note().find() is not None


def test_what_says_when_it_was_used_is_touched(build: Build, tmp_path: Path) -> None:
    used = tmp_path / "used"
    used.touch()
    os.utime(used, (1, 1))
    with unchanged.collecting() as inputs:
        inputs.touch(used)
    build.note().write(inputs, (build.artifact(),))
    assert build.note().find() is not None
    assert used.stat().st_mtime > 1


def test_without_a_collection_nothing_is_kept() -> None:
    assert unchanged.inputs() is not unchanged.inputs()
    assert isinstance(unchanged.inputs(), Inputs)


def test_old_notes_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unchanged, "MAX_RECORDS", 3)
    for number in range(5):
        unchanged.save(tmp_path / str(number), {})
        os.utime(tmp_path / str(number), (number, number))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3", "4"]


PROGRAM = """
import sys
from moby.cli.main import main
status = main(sys.argv[1:])
print("loaded" if "moby.api" in sys.modules else "not loaded")
sys.exit(status)
"""


class Words:
    """``moby build`` of one YAML file, in a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.yaml = folder / "a.yml"
        self.store = Store(folder / "store")
        image([{"etc/x": "1"}]).save(self.store, "docker.io/library/i:1")
        self.yaml.write_text("init: ['i:1']\nfiles: [{path: a, source: src}, {path: b, source: no, optional: true}]\n")
        (folder / "src").write_text("1")

    def loads(self, *more: str) -> bool:
        time.sleep(AGE_S)
        environment = {"HOME": str(self.folder), "PATH": os.environ["PATH"], "MOBY_CACHE": str(self.folder / "store")}
        words = [sys.executable, "-c", PROGRAM, "build", "--arch", "amd64", "a.yml", *more]
        return "not loaded" not in proc.run(words, cwd=self.folder, env=environment).decode()


def test_the_program_is_not_loaded_for_what_is_there(tmp_path: Path) -> None:
    words = Words(tmp_path)
    assert words.loads()
    assert not words.loads()
    assert not words.loads("--json", "--timings")
    assert words.loads("--no-sbom")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "a.yml").write_text("init: ['i:1']\n"),
        lambda folder: (folder / "src").write_text("2"),
        lambda folder: (folder / "no").write_text("now"),
        lambda folder: (folder / "moby.lock").write_text(""),
        lambda folder: image([{"etc/x": "2"}]).save(Store(folder / "store"), "docker.io/library/i:1"),
        lambda folder: (folder / "a-initrd.img").write_bytes(b""),
        lambda folder: (folder / "a-initrd.img").unlink(),
    ],
)
def test_any_change_is_seen(tmp_path: Path, change: Callable[[Path], object]) -> None:
    words = Words(tmp_path)
    words.loads()
    assert not words.loads()
    change(tmp_path)
    assert words.loads()


def test_a_build_that_warns_warns_each_time(tmp_path: Path) -> None:
    words = Words(tmp_path)
    words.yaml.write_text("files: [{path: etc/x/y, contents: ''}]\n")
    words.loads()
    assert words.loads()
