"""A scratch directory in which a real svc supervises plain processes; a small shell script stands in for crun.

The stand-in keeps crun's manners: the container is no child of the caller, holds the caller's output files, and its
state is a directory below run/crun.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from moby import proc

CRUN = """#!/bin/sh
# crun run|create|start|delete, last word the container's name
echo "$*" >> calls
verb=$1
while [ $# -gt 1 ]; do
    case $1 in --bundle) bundle=$2 ;; --pid-file) file=$2 ;; esac
    shift
done
state=run/crun/$1
case $verb in
    run | create)
        [ ! -e "$state" ] || { echo "container $1 already exists" >&2; exit 1; }
        [ ! -e "$bundle/refuse" ] || { echo "refused by the runtime" >&2; exit 1; }
        mkdir -p "$state"
        (
            setsid sh -c 'while [ ! -e "$0/go" ]; do sleep 0.02; done; exec sh "$1/program"' "$state" "$bundle" &
            echo $! > "$file"
        )
        cp "$file" "$state/pid"
        [ "$verb" = create ] || touch "$state/go"
        [ ! -e "$bundle/reap" ] || while kill -0 "$(cat "$file")" 2> /dev/null; do sleep 0.02; done
        ;;
    start) touch "$state/go" ;;
    delete)
        kill -9 "$(cat "$state/pid")" 2> /dev/null
        rm -rf "$state"
        ;;
esac
"""
SLEEPER = "trap 'exit 0' TERM\nwhile :; do sleep 0.05; done\n"


class Machine:
    """Starts svc in ``root`` on request; everything it left behind ends with the ``with`` block."""

    def __init__(self, root: Path, svc: Path) -> None:
        self.root = root
        self._svc = svc
        self._process: subprocess.Popen[bytes] | None = None
        for directory in ("run", "var/log", "usr/bin"):
            (root / directory).mkdir(parents=True)
        self.script("usr/bin/crun", CRUN)

    def script(self, path: str, text: str) -> None:
        (self.root / path).write_text(text)
        (self.root / path).chmod(0o755)

    def add(self, section: str, name: str, program: str = SLEEPER, **notes: str) -> Path:
        """A container whose process is the shell text ``program``; ``notes`` are annotations of ours."""
        bundle = self.root / "containers" / section / name
        bundle.mkdir(parents=True)
        (bundle / "program").write_text(program)
        annotations = {f"org.mobyproject.moby.{key}": value for key, value in notes.items()}
        (bundle / "config.json").write_text(json.dumps({"annotations": annotations}))
        return bundle

    def start(self) -> None:
        with (self.root / "console").open("ab") as console:
            self._process = proc.start([self._svc, "supervise"], cwd=self.root, stdout=console, stderr=console)

    def kill(self) -> None:
        """End svc as a fault would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(5)

    def stop(self) -> int:
        """End svc as init does; its exit status."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(15)

    def svc(self, *words: str) -> tuple[int, str]:
        """Exit status and output of svc as a command."""
        process = proc.start([self._svc, *words], cwd=self.root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        out, _ = process.communicate(timeout=20)
        return process.returncode, out.decode()

    @property
    def console(self) -> str:
        return self.text("console")

    def text(self, path: str) -> str:
        """Content of a file; "" as long as it does not exist."""
        file = self.root / path
        return file.read_text(errors="replace") if file.exists() else ""

    def status(self, name: str) -> dict[str, Any]:
        path = self.root / "run/moby/status.json"
        document = json.loads(path.read_text()) if path.exists() else {"containers": []}
        return next((dict(item) for item in document["containers"] if item["name"] == name), {})

    def wait(self, true: Callable[[], object], limit_s: float = 8) -> None:
        end = time.monotonic() + limit_s
        while not true():
            assert time.monotonic() < end, f"it never came:\n{self.console}"
            time.sleep(0.02)

    def wait_state(self, name: str, state: str) -> dict[str, Any]:
        self.wait(lambda: self.status(name).get("state") == state)
        return self.status(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        for path in self.root.glob("run/crun/*/pid"):
            self._end(int(path.read_text()))
        assert not re.search("Sanitizer|runtime error", self.console), self.console

    @staticmethod
    def _end(pid: int) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
