"""A machine in the foreground: what it shows, what is typed, and the signals that end it (with a fake QEMU)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from pathlib import Path

import pytest

from moby.machines import state, terminal
from moby.machines.machine import Machine
from tests.support import fake_qemu
from tests.support.fake_host import TCG, Host


def test_foreground_shows_the_console_with_plain_line_ends(host: Host) -> None:
    assert host.foreground(ends="guest-shutdown", says="one\ntwo\n") == (0, "one\ntwo\n")


def test_foreground_reports_a_qemu_that_does_not_start(host: Host) -> None:
    assert host.foreground(fails="bad kernel") == (4, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_foreground_stops_the_machine(host: Host, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    sender = threading.Timer(0.5, os.kill, (os.getpid(), number))
    sender.start()
    status, shown = host.foreground(says="up\n")
    sender.join()
    assert (status, shown) == (128 + number, "up\n")
    assert signal.getsignal(number) is before
    assert not state.is_running(host.directory / "web-state")


def test_nobody_reading_stdout_stops_the_machine(host: Host) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    host.tools = fake_qemu.install(host.directory / "bin", says="anybody?\n")
    with Path(os.devnull).open("rb") as stdin, os.fdopen(writer, "wb", buffering=0) as out:
        status = terminal.run_foreground(host.image, TCG, host.context, find_qemu=host.find, stdin=stdin, stdout=out)
    assert status == 129


def test_full_disk_behind_stdout_stops_the_machine(host: Host) -> None:
    host.tools = fake_qemu.install(host.directory / "bin", says="anybody?\n")
    with Path(os.devnull).open("rb") as stdin, Path("/dev/full").open("wb", buffering=0) as out:
        status = terminal.run_foreground(host.image, TCG, host.context, find_qemu=host.find, stdin=stdin, stdout=out)
    assert status == 129
    assert not state.is_running(host.directory / "web-state")


def test_guest_never_waits_for_a_stdout_that_fails() -> None:
    ours, guests = socket.socketpair()

    def talk() -> None:
        with guests:
            guests.sendall(bytes(4 << 20))

    guest = threading.Thread(target=talk)
    with terminal.Signals() as signals, ours, Path("/dev/full").open("wb", buffering=0) as out:
        guest.start()
        terminal._show(ours, out)
    guest.join()
    assert signals.seen == [signal.SIGHUP]


def test_fault_in_the_tool_leaves_no_machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(machine: Machine, signals: terminal.Signals) -> int:
        raise RuntimeError

    monkeypatch.setattr(terminal, "_wait", fail)
    with pytest.raises(RuntimeError):
        host.foreground(ends="deaf")
    assert not state.is_running(host.directory / "web-state")


@pytest.mark.parametrize(
    ("typed", "passed", "leave"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x01", b"cb"], b"a\x03b", False),
        ([b"\x01\x01"], b"\x01", False),
        ([b"\x01z"], b"\x01z", False),
        ([b"ab\x01xcd"], b"ab", True),
    ],
)
def test_escape_sequences_are_taken_out_of_what_is_typed(typed: list[bytes], passed: bytes, leave: bool) -> None:
    keys = terminal.Keys()
    fed = [keys.feed(chunk) for chunk in typed]
    assert b"".join(chunk for chunk, _ in fed) == passed
    assert fed[-1][1] is leave
