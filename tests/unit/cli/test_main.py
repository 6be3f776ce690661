"""The command line itself: finding commands, misspelt words, options before and behind, completion."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from moby import __version__, proc
from moby.cli import main as cli


def test_no_command_prints_the_commands_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([])
    assert ended.value.code == 2
    shown = capsys.readouterr().out
    assert all(name in shown for name in cli.COMMANDS)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["bild", "x.yml"], "did you mean 'build'?"),
        (["build", "--fromat", "tar", "x.yml"], "did you mean --format?"),
        (["run", "--publsh", "1:2", "x.yml"], "did you mean --publish?"),
        (["version", "--shrt"], "did you mean --short?"),
    ],
)
def test_a_misspelt_word_gets_a_suggestion_and_status_2(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert ended.value.code == 2
    assert hint in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [["-q", "version"], ["version", "-q"], ["--cache", "/x", "version"], ["-v", "2", "version"]]
)
def test_global_options_stand_before_or_behind_the_command(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(words) == 0
    assert capsys.readouterr().out == f"moby version {__version__}\n"


def test_quiet_and_verbose_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["-q", "-v", "2", "version"]) == 1
    assert "exclude each other" in capsys.readouterr().err


def test_version_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["version", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"version": __version__}


@pytest.mark.parametrize("name", sorted(cli.COMMANDS))
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    assert f"moby {name}" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["build", "-name", "x"], ["build", "--name", "x"], ["build", "-name=x"]])
def test_long_options_are_taken_with_one_dash_too(words: list[str]) -> None:
    _, arguments = cli.parse([*words, "a.yml"])
    assert arguments.name == "x"


def test_completion_script_is_valid_bash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    script = tmp_path / "moby.bash"
    script.write_text(capsys.readouterr().out)
    asked = 'source "$1"; COMP_WORDS=(moby build --for); COMP_CWORD=2; _shtab_moby; echo "${COMPREPLY[@]}"'
    assert "--format" in proc.run(["bash", "-c", asked, "bash", script]).decode()


def test_completion_leaves_names_of_files_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["completion", "bash"]) == 0
    assert "complete -o bashdefault -o default -F" in capsys.readouterr().out


def test_help_imports_no_slow_library() -> None:
    code = "import sys; from moby.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: print(*sys.modules)"
    loaded = proc.run([sys.executable, "-c", code]).decode().split("\n")[-2].split()
    assert not {"pydantic", "httpx", "rich", "cryptography", "yaml"} & set(loaded)
