"""The process behind a machine: how its start fails, and that only a machine's own process is killed."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby import proc
from moby.errors import CommandError, MobyError, PlatformError
from moby.machines.child import Child, Detached
from moby.machines.state import State


def test_program_that_the_system_refuses_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("no program")
    (tmp_path / "data").chmod(0o755)
    with pytest.raises(CommandError, match="Exec format error"):
        Child([str(tmp_path / "data")], output=tmp_path / "log", pass_fds=())


def test_messages_that_cannot_be_written_are_told(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="cannot be written"):
        Child(["true"], output=tmp_path / "absent" / "log", pass_fds=())


def test_guard_that_cannot_be_started_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[proc.Running] = []
    start = proc.start

    def only_the_first(*arguments: object, **options: object) -> proc.Running:
        if started:
            raise CommandError("cannot run sh: not found")
        started.append(start(*arguments, **options))  # type: ignore[arg-type]  # passed through
        return started[0]

    monkeypatch.setattr(proc, "start", only_the_first)
    monkeypatch.setattr(proc, "DIES_WITH_PARENT", False)
    with pytest.raises(MobyError, match="cannot run sh"):
        Child(["sleep", "60"], output=tmp_path / "log", pass_fds=())
    assert started[0].returncode == -9


def test_fault_of_the_tool_reaches_who_waits_for_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*arguments: object, **options: object) -> proc.Running:
        raise ZeroDivisionError

    monkeypatch.setattr(proc, "start", broken)
    with pytest.raises(ZeroDivisionError):
        Child(["sleep", "60"], output=tmp_path / "log", pass_fds=())


@pytest.fixture
def other() -> Iterator[proc.Running]:
    process = proc.start(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


@pytest.mark.parametrize(
    ("runs", "written", "killed"),
    [(True, "{pid}", True), (False, "{pid}", False), (True, "1", False), (True, "", False), (True, None, False)],
)
def test_only_the_machine_of_the_directory_is_killed(
    tmp_path: Path, other: proc.Running, runs: bool, written: str | None, killed: bool
) -> None:
    held = State.claim(tmp_path)
    if not runs:
        held.release()
    if written is not None:
        (tmp_path / "qemu.pid").write_text(written.format(pid=other.pid))
    Detached(other.pid, tmp_path).kill()
    held.release()
    if killed:
        assert other.wait(5) == -signal.SIGKILL
    else:
        assert other.poll() is None


def test_process_that_is_gone_need_not_be_killed(tmp_path: Path, other: proc.Running) -> None:
    other.kill()
    other.wait()
    held = State.claim(tmp_path)
    (tmp_path / "qemu.pid").write_text(str(other.pid))
    Detached(other.pid, tmp_path).kill()
    held.release()
