"""Programs started by the tool: what failures say, and that they do not outlive it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from moby import proc
from moby.errors import CommandError, PlatformError

STARTER = """
import sys, time
from moby import proc
child = proc.start(["sleep", "60"], die_with_parent={bound})
{guarded}
print(child.pid, flush=True)
time.sleep(60)
"""


def gone(pid: int) -> bool:
    """Whether the process ends within five seconds (a zombie has ended)."""
    for _ in range(250):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
            os.kill(pid, 0)
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("bound", "guarded"), [(True, ""), (False, "guard = proc.guard(child); guard.__enter__()")], ids=["prctl", "guard"]
)
def test_child_ends_with_a_killed_tool(bound: bool, guarded: str) -> None:
    script = STARTER.format(bound=bound, guarded=guarded)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as tool:
        assert tool.stdout is not None
        pid = int(tool.stdout.readline())
        os.kill(pid, 0)
        tool.kill()
    assert gone(pid)


def test_guard_that_is_left_spares_the_child() -> None:
    child = proc.start(["sleep", "60"])
    with proc.guard(child):
        pass
    assert child.poll() is None
    child.kill()
    child.wait()


def test_failure_names_the_status_and_the_last_words() -> None:
    with pytest.raises(CommandError, match=r"sh exited with status 3\n  why") as caught:
        proc.run(["sh", "-c", "echo why >&2; exit 3"])
    assert caught.value.status == 3
    with pytest.raises(CommandError, match="sh was killed by SIGTERM") as caught:
        proc.run(["sh", "-c", "kill $$"])
    assert caught.value.status == 143


def test_missing_or_forbidden_program_is_told(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    for act in (proc.run, proc.start):
        with pytest.raises(CommandError, match="not found"):
            act([tmp_path / "absent"])
        with pytest.raises(CommandError, match="permission denied"):
            act([tmp_path / "data"])
    with pytest.raises(PlatformError, match="absent is not installed"):
        proc.find("absent")


def test_every_refusal_of_the_system_is_a_command_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").write_text("no program")
    (tmp_path / "data").chmod(0o755)
    for act in (proc.run, proc.start):
        with pytest.raises(CommandError, match="Exec format error") as caught:
            act([tmp_path / "data"])
        assert caught.value.status == 126

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(subprocess, "Popen", full)
    for act in (proc.run, proc.start):
        with pytest.raises(CommandError, match="cannot run true: Too many open files"):
            act(["true"])


def test_program_that_hangs_is_ended() -> None:
    with pytest.raises(CommandError, match=r"did not finish in 0\.1 s") as caught:
        proc.run(["sleep", "60"], timeout_s=0.1)
    assert caught.value.status == proc.TIMED_OUT
