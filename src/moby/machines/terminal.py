"""``moby run`` in the foreground: the guest's console on the terminal, signals that stop it, its exit status.

On a terminal every key goes to the guest, except:

    Ctrl-C            stop the machine (power button, then its plug); a second Ctrl-C pulls the plug at once
    Ctrl-A x          pull the plug at once
    Ctrl-A c          send a Ctrl-C to the guest;  Ctrl-A Ctrl-A sends a Ctrl-A

Elsewhere nothing is read, and the console's lines go to stdout with plain line ends. Exit status: the machine's, or 130
after Ctrl-C or Ctrl-A x, 143 after SIGTERM, 129 after SIGHUP or when stdout takes no more (nobody reads it, disk full).
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import IO, Self

from moby import log
from moby.artifact import Artifact
from moby.context import Context
from moby.errors import CommandError
from moby.machines import named
from moby.machines.machine import QEMU_FAILED, Machine
from moby.machines.options import RunOptions
from moby.machines.resolve import Boot
from moby.machines.toolset import Finder

_CTRL_A, _CTRL_C = 0x01, 0x03
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 128 + signal.SIGINT
_POLL_S = 0.1
_CHUNK = 1 << 16


class Signals:
    """Remembers the signals that ask this process to end, instead of ending it, while its block runs."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def __enter__(self) -> Self:
        self._before = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        self.seen.append(number)


class Keys:
    """Takes the escape sequences out of what is typed: ``feed`` gives what the guest gets and whether to quit."""

    def __init__(self) -> None:
        self._escaped = False

    def feed(self, typed: bytes) -> tuple[bytes, bool]:
        """The bytes for the guest, and True once ``Ctrl-A x`` was typed."""
        passed = bytearray()
        for byte in typed:
            if not self._escaped:
                if byte == _CTRL_A:
                    self._escaped = True
                else:
                    passed.append(byte)
                continue
            self._escaped = False
            match byte:
                case 0x78 | 0x58:  # x, X
                    return bytes(passed), True
                case 0x63 | 0x43:  # c, C
                    passed.append(_CTRL_C)
                case _ if byte == _CTRL_A:
                    passed.append(_CTRL_A)
                case _:  # no sequence of ours
                    passed += bytes((_CTRL_A, byte))
        return bytes(passed), False


def run_foreground(
    target: Artifact | Boot | Path | str,
    options: RunOptions,
    context: Context,
    *,
    find_qemu: Finder | None = None,
    stdin: IO[bytes],
    stdout: IO[bytes],
    back_end: str = "qemu",
) -> int:
    """Run ``target`` until it ends and return the exit status.

    Must be called in the main thread, for the signals. Raises what ``qemu.run`` raises, and ``ConfigError`` for an
    unknown ``back_end``; but a QEMU that fails to start is reported and gives its status 4.
    """
    start = named(back_end)
    with Signals() as signals:
        try:
            machine = start(target, options, context, find_qemu=find_qemu, attach=True)
        except CommandError as error:
            if error.status != QEMU_FAILED:
                raise
            log.error(str(error))
            return QEMU_FAILED
        try:
            return _watch(machine, signals, stdin, stdout)
        finally:
            machine.close()


def _watch(machine: Machine, signals: Signals, stdin: IO[bytes], stdout: IO[bytes]) -> int:
    assert machine.terminal is not None  # started attached
    done = threading.Event()
    output = threading.Thread(target=_show, args=(machine.terminal, stdout), name="moby-console", daemon=True)
    with _raw(stdin) as interactive:
        if interactive:
            log.info("Ctrl-C stops the machine, Ctrl-A c sends it a Ctrl-C, Ctrl-A x ends it at once")
            typing = (machine, machine.terminal, stdin.fileno(), done)
            threading.Thread(target=_type, args=typing, name="moby-keys", daemon=True).start()
        output.start()
        try:
            status = _wait(machine, signals)
        finally:
            done.set()
            if machine.status is None:  # a bug above must not leave a machine behind
                machine.kill()
            output.join()
    return status


def _wait(machine: Machine, signals: Signals) -> int:
    """The machine's exit status, or that of the first signal."""
    while not signals.seen:
        status = machine.wait(_POLL_S)
        if status is not None:
            return status
    log.info(f"Stopping {machine.name}; once more to end it at once")
    machine.stop(hurry=lambda: len(signals.seen) > 1)
    return 128 + signals.seen[0]


def _show(terminal: socket.socket, stdout: IO[bytes]) -> None:
    """Copy the console to stdout until QEMU closes it."""
    plain = not stdout.isatty()
    broken = False
    while chunk := _receive(terminal):
        if broken:
            continue  # the guest must not wait for us
        try:
            stdout.write(chunk.replace(b"\r\n", b"\n").replace(b"\r", b"") if plain else chunk)
            stdout.flush()
        except (OSError, ValueError) as error:  # ValueError: it was closed
            broken = True
            if not isinstance(error, BrokenPipeError):
                log.error(f"the console cannot be shown any more: {error}")
            os.kill(os.getpid(), signal.SIGHUP)


def _receive(terminal: socket.socket) -> bytes:
    try:
        return terminal.recv(_CHUNK)
    except ConnectionError:
        return b""


def _type(machine: Machine, terminal: socket.socket, descriptor: int, done: threading.Event) -> None:
    """Copy what is typed to the console."""
    keys = Keys()
    while not done.is_set():
        if not select.select([descriptor], [], [], _POLL_S)[0]:
            continue
        typed = os.read(descriptor, 1024)
        passed, leave = keys.feed(typed)
        with contextlib.suppress(OSError):  # it ended meanwhile
            terminal.sendall(passed)
        if leave:
            machine.kill(_INTERRUPTED)
        if leave or not typed:
            return


@contextlib.contextmanager
def _raw(stdin: IO[bytes]) -> Iterator[bool]:
    """Give every key to us at once and unechoed, except Ctrl-C; True when ``stdin`` is a terminal that allows it."""
    if not stdin.isatty():
        yield False
        return
    descriptor = stdin.fileno()
    before = termios.tcgetattr(descriptor)
    mode = termios.tcgetattr(descriptor)
    mode[0] &= ~(termios.ICRNL | termios.INLCR | termios.IXON | termios.ISTRIP)
    mode[3] &= ~(termios.ICANON | termios.ECHO | termios.IEXTEN)
    off = os.fpathconf(descriptor, "PC_VDISABLE")
    for key in (termios.VQUIT, termios.VSUSP):
        mode[6][key] = bytes((off,))
    mode[6][termios.VMIN], mode[6][termios.VTIME] = 1, 0
    termios.tcsetattr(descriptor, termios.TCSADRAIN, mode)
    try:
        yield True
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
