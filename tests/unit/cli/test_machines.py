"""``moby ps``, ``moby logs`` and ``moby stop``, with machines that are nothing but a held lock."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.context import Context
from moby.machines import state
from moby.machines.state import Facts, State

Moby = Callable[..., tuple[int, str, str]]


@pytest.fixture
def moby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Moby:
    """Runs ``moby`` in an empty directory; gives status, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(words)
        shown = capfd.readouterr()
        return status, shown.out, shown.err

    return run


@pytest.fixture
def web(moby: Moby, tmp_path: Path) -> Iterator[State]:
    """A machine that runs until it is released."""
    held = State.claim(tmp_path / "elsewhere")
    held.console_log.write_text("Welcome\n")
    facts = Facts(
        name="web",
        state=str(held.directory),
        pid=7,
        architecture="amd64",
        cpus=1,
        memory_mib=256,
        publish=("127.0.0.1:8080->80/tcp",),
        started_s=1,
        detached=True,
    )
    held.record(facts, Context.from_environment().work)
    yield held
    held.release()


def test_the_console_of_a_machine_that_runs(moby: Moby, web: State) -> None:
    assert moby("logs", "web") == (0, "Welcome\n", "")


@pytest.mark.parametrize("words", [["logs", "web"], ["logs", "-f", "web"], ["logs", "./elsewhere"]], ids=" ".join)
def test_the_console_of_a_machine_that_ended_is_shown_and_that_it_ended(
    moby: Moby, web: State, words: list[str]
) -> None:
    web.release()
    said = "web is not running: it ended, and nobody saw with what exit status\n"
    assert moby(*words) == (0, "Welcome\n", said)
    assert moby("ps")[1].count("\n") == 1
    assert moby(*words)[1] == "Welcome\n", "moby ps does not forget it"


def test_machines_that_ended_are_listed_on_demand(moby: Moby, web: State) -> None:
    running = moby("ps", "--all")
    assert running[1].splitlines()[1].split()[::3] == ["web", "127.0.0.1:8080->80/tcp"]
    assert running == moby("ps")
    web.release()
    assert moby("ps", "-a")[1].splitlines()[1] == "web                         -    ended  "


def test_json_says_which_machines_run(moby: Moby, web: State) -> None:
    def listed(*options: str) -> list[tuple[str, bool]]:
        return [(each["name"], each["running"]) for each in json.loads(moby("ps", "--json", *options)[1])["machines"]]

    assert listed() == listed("--all") == [("web", True)]
    web.release()
    assert (listed(), listed("--all")) == ([], [("web", False)])


def test_how_a_machine_ended_is_told_as_far_as_it_is_known(moby: Moby, web: State) -> None:
    web.release()
    state.note_end(web.directory, 7, 0)
    assert "it ended with exit status 0 (the guest powered off)" in moby("logs", "web")[2]
    (web.directory / "exit-status").unlink()
    web.console_log.write_text("x\nKernel panic - not syncing: VFS\n")
    assert "it ended with exit status 3 (its kernel panicked)" in moby("logs", "web")[2]


def test_a_console_that_is_gone_is_told(moby: Moby, web: State) -> None:
    web.console_log.unlink()
    assert "elsewhere: cannot read its console: No such file" in moby("logs", "web")[2]


def test_a_machine_that_does_not_run_is_told_with_what_to_do(moby: Moby, web: State) -> None:
    for verb in ("logs", "stop"):
        assert moby(verb, "db")[2] == "moby: error: no machine db is running\n  fix: running: web\n"
    web.release()
    for verb in ("logs", "stop"):
        fix = "no machine runs now; moby run -d FILE.yml starts one"
        assert moby(verb, "db")[2] == f"moby: error: no machine db is running\n  fix: {fix}\n"
    fix = "moby logs web shows what its console said"
    assert moby("stop", "web")[2] == f"moby: error: web is not running any more\n  fix: {fix}\n"


@pytest.mark.parametrize("name", ["ps", "logs", "stop", "run"])
def test_the_help_of_machines_has_examples(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main([name, "--help"])
    assert f"examples:\n  moby {name} " in capsys.readouterr().out
