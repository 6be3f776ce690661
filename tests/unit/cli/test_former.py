"""The command line and the outputs of March 2017."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moby import outputs
from moby.cli.main import is_former, main
from moby.outputs.kernel_initrd import KERNEL_INITRD
from moby.outputs.tar import TAR

TEXT = "files: [{path: etc/x, contents: hi}]\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web.yaml").write_text(TEXT)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "base"),
    [
        (["web.yaml"], "web"),
        (["-name", "a", "web.yaml"], "a"),
        (["--name", "a", "web.yaml"], "a"),
        (["-name=a", "web.yaml"], "a"),
    ],
)
def test_a_file_alone_is_built_with_a_notice(
    words: list[str], base: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0
    said = capsys.readouterr()
    assert said.out == f"{base}-initrd.img\n"
    assert said.err.startswith(f"notice: this is called moby build now: moby build {' '.join(words)}\n")


@pytest.mark.parametrize(
    "words", [[], ["build", "x.yml"], ["-q", "version"], ["--version"], ["biuld"], ["-name", "a"], ["--cache", "x.yml"]]
)
def test_everything_else_is_not_taken_for_it(words: list[str]) -> None:
    assert not is_former(words)


def test_formats_come_from_the_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "old.yml").write_text("outputs: [{format: kernel+initrd}]\n" + TEXT)
    assert main(["build", "old.yml"]) == 0
    said = capsys.readouterr()
    assert said.out == "old-initrd.img\n"
    assert "warning: old.yml:1:1: outputs is the option --format now\n" in said.err


def test_formats_of_the_command_line_win(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "old.yml").write_text("outputs: [{format: vhd}]\n" + TEXT)
    assert main(["build", "-f", "tar", "old.yml"]) == 0
    assert capsys.readouterr().out == "old.tar\n"


def test_a_format_that_cannot_be_made_is_named_with_its_place(
    here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "FORMATS", {"kernel+initrd": KERNEL_INITRD})
    (here / "old.yml").write_text("outputs:\n  - format: qcow2\n" + TEXT)
    assert main(["build", "old.yml"]) == 1
    said = capsys.readouterr().err
    assert "old.yml:2:13 (outputs[0].format): format 'qcow2-bios', spelt 'qcow2' here, is not one that can be" in said
    assert "fix: one of kernel+initrd" in said


def test_a_push_is_only_told(here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    gcp = replace(TAR, name="gcp", streamable=False)
    monkeypatch.setattr(outputs, "FORMATS", {"kernel+initrd": KERNEL_INITRD, "gcp": gcp})
    (here / "old.yml").write_text("outputs: [{format: gce, bucket: b, family: f}]\n" + TEXT)
    assert main(["build", "old.yml"]) == 0
    said = capsys.readouterr()
    assert said.out == "old.tar\n"
    assert "to push it as the file says: moby push gcp --bucket b --family f old.tar\n" in said.err


def test_an_input_tar_is_taken_and_changes_nothing(here: Path) -> None:
    assert main(["build", "-f", "tar", "-o", "a.tar", "web.yaml"]) == 0
    (here / "web.yaml").write_text(TEXT.replace("hi", "other"))
    assert main(["build", "-f", "tar", "-o", "b.tar", "--input-tar", "a.tar", "web.yaml"]) == 0
    assert main(["build", "-f", "tar", "-o", "c.tar", "web.yaml"]) == 0
    assert (here / "b.tar").read_bytes() == (here / "c.tar").read_bytes() != (here / "a.tar").read_bytes()


def test_help_says_that_an_input_tar_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["build", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "accepted for compatibility and not read: unchanged parts" in said


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["--pull", "--input-tar", "web.yaml"], "--input-tar: it cannot be used together with --pull"),
        (["-o", "web.yaml", "--input-tar", "web.yaml"], "--input-tar: web.yaml is the output, too"),
        (["--input-tar", "none.tar"], "--input-tar: there is no file none.tar"),
    ],
)
def test_an_input_tar_that_cannot_be_meant_is_refused(
    words: list[str], what: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["build", "-f", "tar", *words, "web.yaml"]) == 1
    assert what in capsys.readouterr().err
    assert (here / "web.yaml").read_text() == TEXT
