"""The wheel alone: installed into an empty directory, with an empty home, it makes and boots a machine."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from moby import proc

pytestmark = pytest.mark.boot

ROOT = Path(__file__).parents[2]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def page(port: int, patience_s: float) -> str:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1) as answer:
                return str(answer.read().decode())
        except (OSError, urllib.error.URLError):
            time.sleep(0.1)
    raise AssertionError("no page")


@pytest.mark.shows("The installed wheel makes and boots a machine: moby init web, moby run web.yml", by="boot")
def test_init_and_run_from_the_wheel(tmp_path: Path) -> None:
    python = Path(sys.executable)
    proc.run([python, "-m", "pip", "wheel", "-q", "--no-deps", "-w", tmp_path / "dist", ROOT])
    proc.run([python, "-m", "venv", tmp_path / "venv"])
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    proc.run([tmp_path / "venv/bin/pip", "install", "-q", wheel])
    moby = tmp_path / "venv/bin/moby"
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("XDG", "MOBY", "PYTHON"))}
    environment["HOME"] = str(home)
    proc.run([moby, "init", "web"], cwd=here, env=environment)
    port = free_port()
    machine = proc.start([moby, "run", "--publish", f"{port}:80", "web.yml"], cwd=here, env=environment, stdout=-3)
    try:
        assert "Hello" in page(port, 120)
    finally:
        machine.send_signal(signal.SIGINT)
        assert machine.wait(30) == 130
