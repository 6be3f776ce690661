"""The only place that starts other programs.

Commands are lists, never shell text. The quoted command is logged at debug level; a failure names the command, its exit
status or signal, and the last lines it wrote to stderr.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO

from moby import log
from moby.errors import CommandError, PlatformError

_TAIL_LINES = 6


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
) -> bytes:
    """Run ``argv`` to its end and return its stdout.

    ``env`` replaces the environment when given. Raises ``CommandError`` when the program is missing, fails, is killed
    or runs longer than ``timeout_s``.
    """
    words = [os.fspath(word) for word in argv]
    log.debug(f"$ {shlex.join(words)}")
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, env=env, cwd=cwd, timeout=timeout_s, check=False)
    except FileNotFoundError as error:
        raise CommandError(f"cannot run {words[0]}: not found", status=127, fix=f"install {words[0]}") from error
    except PermissionError as error:
        raise CommandError(f"cannot run {words[0]}: permission denied", status=126) from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{words[0]} did not finish in {timeout_s:g} s") from error
    if done.returncode != 0:
        raise failure(words, done.returncode, done.stderr)
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
) -> subprocess.Popen[bytes]:
    """Start ``argv`` and return the running process; the caller waits for it. Raises ``CommandError`` if missing."""
    words = [os.fspath(word) for word in argv]
    log.debug(f"$ {shlex.join(words)}")
    try:
        return subprocess.Popen(
            words,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            start_new_session=new_session,
            pass_fds=pass_fds,
        )
    except FileNotFoundError as error:
        raise CommandError(f"cannot run {words[0]}: not found", status=127, fix=f"install {words[0]}") from error


def failure(argv: Sequence[str], status: int, stderr: bytes = b"") -> CommandError:
    """The error that describes a finished command: its exit status or signal and the end of what it said."""
    how = f"was killed by {signal.Signals(-status).name}" if status < 0 else f"exited with status {status}"
    tail = stderr.decode(errors="replace").strip().splitlines()[-_TAIL_LINES:]
    said = "".join(f"\n  {line}" for line in tail)
    return CommandError(f"{Path(argv[0]).name} {how}{said}", status=status if status > 0 else 128 - status)
