"""The monitor's connection when the other side does not behave as QEMU."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from qemu.qmp import QMPClient

from moby.errors import PlatformError
from moby.machines.qmp import Monitor

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, qemus = socket.socketpair()
    with ours, qemus:
        yield ours, qemus


def refuses(monitor: Monitor) -> None:
    for _ in range(2):
        with pytest.raises(PlatformError, match=r"monitor does not answer: ."):
            monitor.open()
    with pytest.raises(PlatformError, match="monitor does not answer"):
        monitor.execute("cont")
    monitor.join(5)
    monitor.close()
    assert monitor.events == ()


def test_silence_is_given_up(ends: tuple[socket.socket, socket.socket]) -> None:
    refuses(Monitor(ends[0], timeout_s=0.05))


def test_end_before_the_greeting_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].close()
    refuses(Monitor(ends[0], timeout_s=5))


@pytest.mark.parametrize("words", [b"hello\n", b"{}\n", b'{"QMP": 1}\n'])
def test_other_words_than_a_greeting_are_told(ends: tuple[socket.socket, socket.socket], words: bytes) -> None:
    ends[1].sendall(words)
    refuses(Monitor(ends[0], timeout_s=5))


def test_socket_that_is_closed_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    ends[0].close()
    refuses(Monitor(ends[0], timeout_s=5))


def test_fault_of_the_client_reaches_who_waits(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(client: QMPClient, address: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(QMPClient, "connect", broken)
    monitor = Monitor(ends[0], timeout_s=5)
    with pytest.raises(ZeroDivisionError):
        monitor.open()
    monitor.close()


def test_connection_that_breaks_later_ends_quietly(ends: tuple[socket.socket, socket.socket]) -> None:
    qemu = ends[1]
    qemu.sendall(json.dumps(GREETING).encode() + b"\n")
    monitor = Monitor(ends[0], timeout_s=5)
    assert b"qmp_capabilities" in qemu.recv(4096)
    event = {"event": "RESUME", "timestamp": {"seconds": 0, "microseconds": 0}}
    answers: tuple[object, ...] = ({"return": {}}, event)
    for answer in answers:
        qemu.sendall(json.dumps(answer).encode() + b"\n")
    monitor.open()
    qemu.sendall(b"no JSON\n")
    monitor.join(5)
    assert [each["event"] for each in monitor.events] == ["RESUME"]
    with pytest.raises(PlatformError, match="QEMU"):
        monitor.execute("cont")
    monitor.close()
