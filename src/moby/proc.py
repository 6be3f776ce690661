"""The only place that starts other programs.

Commands are lists, never shell text. The quoted command is logged at debug level; a failure names the command, its exit
status or signal, and the last lines it wrote to stderr.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from moby import log
from moby.errors import CommandError, PlatformError

TIMED_OUT = 124  # as timeout(1) says it
_TAIL_LINES = 6
_PR_SET_PDEATHSIG = 1  # prctl(2)

# A started program, for annotations outside this module.
Running = subprocess.Popen[bytes]

# Whether ``start(die_with_parent=True)`` is kept by the kernel; elsewhere use ``guard``.
DIES_WITH_PARENT = sys.platform == "linux"


def find(tool: str, *, fix: str = "") -> Path:
    """The path of ``tool`` on PATH. Raises ``PlatformError`` with ``fix`` when it is not there."""
    found = shutil.which(tool)
    if found is None:
        raise PlatformError(f"{tool} is not installed", fix=fix or f"install {tool} and try again")
    return Path(found)


def run(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: bytes | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    timeout_s: float | None = 600,
    die_with_parent: bool = False,
) -> bytes:
    """Run ``argv`` to its end and return its stdout.

    ``env`` replaces the environment when given; ``die_with_parent`` as for ``start``. Raises ``CommandError`` when the
    program cannot be started, fails, is killed or runs longer than ``timeout_s`` (its status is then ``TIMED_OUT``).
    """
    words = [os.fspath(word) for word in argv]
    log.debug(f"$ {shlex.join(words)}")
    try:
        with _told(words[0]):
            done = subprocess.run(
                words,
                input=stdin,
                capture_output=True,
                env=env,
                cwd=cwd,
                timeout=timeout_s,
                check=False,
                preexec_fn=_bind_to_parent() if die_with_parent and DIES_WITH_PARENT else None,
            )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{words[0]} did not finish in {timeout_s:g} s", status=TIMED_OUT) from error
    if done.returncode != 0:
        raise failure(words, done.returncode, done.stderr, done.stdout)
    return done.stdout


def start(
    argv: Sequence[str | os.PathLike[str]],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    new_session: bool = False,
    pass_fds: Sequence[int] = (),
    die_with_parent: bool = False,
) -> subprocess.Popen[bytes]:
    """Start ``argv`` and return the running process; the caller waits for it.

    With ``die_with_parent`` (Linux) the kernel kills it when the *thread* that called this ends, however it ends.
    Raises ``CommandError`` when the program cannot be started.
    """
    words = [os.fspath(word) for word in argv]
    log.debug(f"$ {shlex.join(words)}")
    with _told(words[0]):
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=new_session,
            pass_fds=pass_fds,
            preexec_fn=_bind_to_parent() if die_with_parent and DIES_WITH_PARENT else None,
        )


@contextlib.contextmanager
def _told(program: str) -> Iterator[None]:
    """Makes every way in which the system refuses to start ``program`` a ``CommandError``."""
    try:
        yield
    except FileNotFoundError as error:
        raise CommandError(f"cannot run {program}: not found", status=127, fix=f"install {program}") from error
    except PermissionError as error:
        raise CommandError(f"cannot run {program}: permission denied", status=126) from error
    except OSError as error:  # not a program, no more processes or descriptors, …
        raise CommandError(f"cannot run {program}: {error.strerror or error}", status=126) from error


def _bind_to_parent() -> Callable[[], None]:
    """What the child does before it becomes the program; everything is looked up here, before the fork."""
    import ctypes  # only machines need it

    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def bind() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before the line above
            os._exit(1)

    return bind


@contextlib.contextmanager
def guard(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """While this block runs, ``process`` is killed if this tool ends without leaving it: for hosts without prctl.

    A shell waits on a pipe whose other end only this process holds.
    """
    script = 'read -r _; kill -9 "$0"'
    watcher = start(["sh", "-c", script, str(process.pid)], stdin=subprocess.PIPE, new_session=True)
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()
        if watcher.stdin is not None:
            watcher.stdin.close()


def failure(argv: Sequence[str], status: int, stderr: bytes = b"", stdout: bytes = b"") -> CommandError:
    """The error that describes a finished command: its exit status or signal and the end of what it said."""
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    tail = stderr.decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
    said = "".join(f"\n  {line}" for line in tail)
    code = status if status > 0 else 128 - status
    return CommandError(f"{Path(argv[0]).name} {how}{said}", status=code, output=stdout)
