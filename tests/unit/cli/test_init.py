"""``moby init``."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.cli.init import examples


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_writes_the_example_under_its_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "web"]) == 0
    assert capsys.readouterr().out == "web.yml\n"
    assert Path("web.yml").read_text() == examples()["web"].read_text()


def test_a_file_that_is_there_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("web.yml").write_text("mine")
    assert cli.main(["init", "web"]) == 1
    assert "it is there already" in capsys.readouterr().err
    assert Path("web.yml").read_text() == "mine"


def test_an_unknown_example_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "wbe"]) == 1
    assert "did you mean web?" in capsys.readouterr().err


def test_every_example_says_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["init", "--list"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert len(line.split(maxsplit=1)) == 2, line
