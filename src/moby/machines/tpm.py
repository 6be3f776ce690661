"""A TPM 2.0 for a machine: ``swtpm``, a program of its own that QEMU talks to over a socket.

Both are given an end of one socket pair, so that no path can be raced or too long. swtpm ends with the connection,
however QEMU ends, detached machines included. What a TPM keeps between runs, such as keys, lies in the machine's state
directory; its registers start anew each time.

Sources: swtpm(8), QEMU ``docs/specs/tpm.rst``.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from moby import proc
from moby.errors import PlatformError

_DIRECTORY = "tpm"


def argv(program: Sequence[str], *, state: Path, control: int) -> list[str]:
    """The command line of swtpm; ``control`` is a descriptor that is connected to QEMU."""
    return [
        *program,
        "socket",
        "--tpm2",
        "--tpmstate",
        f"dir={state},mode=0600",
        "--ctrl",
        f"type=unixio,clientfd={control}",
        "--flags",
        "not-need-init",
        "--terminate",
    ]


@contextlib.contextmanager
def started(program: Sequence[str], directory: Path) -> Iterator[socket.socket]:
    """The end of a running TPM's connection that QEMU inherits; without QEMU, the TPM ends with this block.

    ``directory`` is the machine's state directory. Raises ``CommandError`` when swtpm cannot be started, and
    ``PlatformError`` for a directory that it cannot use.
    """
    state = directory.absolute() / _DIRECTORY
    if "," in str(state):
        raise PlatformError("a TPM cannot be kept below a path with a comma", where=str(state), fix="give --state DIR")
    state.mkdir(mode=0o700, exist_ok=True)
    for_qemu, for_tpm = socket.socketpair()
    with for_qemu:
        with for_tpm, (directory / "swtpm.log").open("wb") as log:
            words = argv(program, state=state, control=for_tpm.fileno())
            process = proc.start(words, stdout=log, stderr=log, new_session=True, pass_fds=[for_tpm.fileno()])
        threading.Thread(target=process.wait, name="moby-tpm", daemon=True).start()  # whenever that is
        yield for_qemu
