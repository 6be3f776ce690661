"""A QEMU that boots nothing: it records its words, speaks QMP on the sockets it inherits, and ends as it is told.

``install(directory, ends=…)`` writes the program and gives the ``Toolset`` that starts it. ``ends``: ``hang`` until the
power button, ``deaf`` to it and to ``quit``, or a SHUTDOWN reason to end with at once; ``says`` goes to the console,
``fails`` is written to stderr before it exits with status 1.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from moby.machines.toolset import Toolset

_ROOT = Path(__file__).parents[2]
_COMMANDS = ("qmp_capabilities", "cont", "system_powerdown", "query-status", "quit")


def install(directory: Path, *, ends: str = "hang", says: str = "", fails: str = "", panics: bool = False) -> Toolset:
    directory.mkdir(parents=True, exist_ok=True)
    plan = {"ends": ends, "says": says, "fails": fails, "panics": panics, "record": str(directory / "argv.json")}
    program = directory / "qemu-system-fake"
    program.write_text(
        f"#!{sys.executable} -S\n"
        f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"
        f"from tests.support.fake_qemu import play\nplay({plan!r})\n"
    )
    program.chmod(0o755)
    return toolset(program)


def toolset(program: Path) -> Toolset:
    """``program`` for QEMU, and nothing beside it: where firmware or a TPM is asked for, the test fails."""
    from moby.machines.toolset import Toolset  # the fake itself starts faster without

    def no_firmware(secure: bool) -> tuple[Path, Path]:
        raise AssertionError("firmware was asked for")

    def no_tpm() -> tuple[str, ...]:
        raise AssertionError("a TPM was asked for")

    return Toolset(system=(str(program),), firmware=no_firmware, tpm=no_tpm)


def recorded(tools: Toolset) -> list[str]:
    """The words the fake was started with."""
    words: list[str] = json.loads((Path(tools.system[0]).parent / "argv.json").read_text())
    return words


def play(plan: dict[str, Any]) -> None:
    Path(plan["record"]).write_text(json.dumps(sys.argv))
    if plan["fails"]:
        print(plan["fails"], file=sys.stderr)
        sys.exit(1)
    if "-daemonize" in sys.argv:
        _daemonize()
    signal.alarm(60)  # a failed test must not leave it behind
    Path(_option("-pidfile")).write_text(str(os.getpid()))
    control = socket.socket(fileno=int(_chardev("control")["fd"]))
    Path(_chardev("console")["logfile"]).write_text(plan["says"].replace("\n", "\r\n"))
    console = _chardev("console")
    if "server" not in console:
        socket.socket(fileno=int(console["fd"])).sendall(plan["says"].replace("\n", "\r\n").encode())
    _Monitor(control, plan).serve()
    signal.pause()  # the tool is gone, a machine stays


def _daemonize() -> None:
    """Go on in a child; the parent ends once the child has written its process id."""
    if os.fork() == 0:
        return
    pidfile = Path(_option("-pidfile"))
    while not (pidfile.exists() and pidfile.stat().st_size):
        time.sleep(0.005)
    os._exit(0)


def _option(name: str) -> str:
    return sys.argv[sys.argv.index(name) + 1]


def _chardev(name: str) -> dict[str, str]:
    for word, value in zip(sys.argv, sys.argv[1:], strict=False):
        fields = dict(field.partition("=")[::2] for field in value.split(","))
        if word == "-chardev" and fields.get("id") == name:
            return fields
    raise KeyError(name)


class _Monitor:
    """The server's side of QMP: a greeting, then one answer for each command."""

    def __init__(self, connection: socket.socket, plan: dict[str, Any]) -> None:
        self._connection = connection
        self._plan = plan
        version = {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": "fake"}
        self._send({"QMP": {"version": version, "capabilities": []}})

    def _send(self, message: dict[str, Any]) -> None:
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def _event(self, name: str, **data: object) -> None:
        self._send({"event": name, "data": data, "timestamp": {"seconds": 0, "microseconds": 0}})

    def _commands(self) -> Iterator[dict[str, Any]]:
        """JSON objects one after the other, with nothing between them."""
        text, decoder = "", json.JSONDecoder()
        while chunk := self._connection.recv(4096):
            text += chunk.decode()
            with contextlib.suppress(json.JSONDecodeError):  # there is more to come
                command, end = decoder.raw_decode(text)
                text = text[end:].lstrip()
                yield command

    def serve(self) -> None:
        for command in self._commands():
            reply = {"id": command["id"]} if "id" in command else {}
            deaf = command["execute"] == "quit" and self._plan["ends"] == "deaf"
            if deaf or command["execute"] not in _COMMANDS:
                self._send({"error": {"class": "CommandNotFound", "desc": "no such command"}, **reply})
                continue
            self._send({"return": {}, **reply})
            self._react(command["execute"])

    def _react(self, command: str) -> None:
        ends = self._plan["ends"]
        if command == "cont":
            self._event("RESUME")
        if command == "cont" and self._plan["panics"]:
            self._event("GUEST_PANICKED", action="pause")
        if command == "cont" and ends not in ("hang", "deaf"):
            self._end(ends)
        if command == "quit":
            self._end("host-qmp-quit")
        if command == "system_powerdown":
            self._event("POWERDOWN")
        if command == "system_powerdown" and ends == "hang":
            self._end("guest-shutdown")

    def _end(self, reason: str) -> None:
        self._event("SHUTDOWN", guest=True, reason=reason)
        sys.exit(0)
