from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

from moby.errors import CommandError, PlatformError
from moby.machines import tpm

PROGRAM = """#!{python}
import pathlib, socket, sys
words = pathlib.Path({words!r})
words.write_text(" ".join(sys.argv))
control = socket.socket(fileno=int(sys.argv[sys.argv.index("--ctrl") + 1].rpartition("=")[2]))
control.send(b"ready")
control.recv(1)
words.write_text("ended")
"""


def test_the_connection_is_inherited_and_state_is_kept(tmp_path: Path) -> None:
    program, words = tmp_path / "swtpm", tmp_path / "words"
    program.write_text(PROGRAM.format(python=sys.executable, words=str(words)))
    program.chmod(0o755)
    with tpm.started([str(program)], tmp_path) as end:
        end.settimeout(10)
        assert end.recv(100) == b"ready"
        told = words.read_text()
    assert f"--tpmstate dir={tmp_path}/tpm,mode=0600 --ctrl type=unixio,clientfd=" in told
    assert "--terminate" in told
    assert (tmp_path / "tpm").stat().st_mode & 0o777 == 0o700
    deadline = time.monotonic() + 10
    while words.read_text() != "ended":  # with the connection
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="not found"), tpm.started([str(tmp_path / "none")], tmp_path):
        pass


def test_a_comma_cannot_be_told_to_swtpm(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="comma"), tpm.started(["swtpm"], tmp_path / "a,b"):
        pass
