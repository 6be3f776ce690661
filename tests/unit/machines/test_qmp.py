"""The monitor's connection when the other side does not behave as QEMU."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

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


def greeted(ends: tuple[socket.socket, socket.socket]) -> Monitor:
    """A monitor whose other end has greeted as QEMU does."""
    monitor = Monitor(ends[0], timeout_s=5)
    say(ends[1], GREETING)
    assert b"qmp_capabilities" in ends[1].recv(4096)
    say(ends[1], {"return": {}})
    monitor.open()
    return monitor


def say(qemu: socket.socket, message: object) -> None:
    qemu.sendall(json.dumps(message).encode() + b"\n")


def test_connection_that_breaks_later_ends_quietly(ends: tuple[socket.socket, socket.socket]) -> None:
    monitor = greeted(ends)
    say(ends[1], {"event": "RESUME", "timestamp": {"seconds": 0, "microseconds": 0}})
    ends[1].sendall(b"no JSON\n")
    monitor.join(5)
    assert [each["event"] for each in monitor.events] == ["RESUME"]
    with pytest.raises(PlatformError, match="QEMU"):
        monitor.execute("cont")
    monitor.close()


def test_command_that_waits_when_qemu_goes_is_told(ends: tuple[socket.socket, socket.socket]) -> None:
    monitor = greeted(ends)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(monitor.execute, "quit")
        assert b"quit" in ends[1].recv(4096)
        ends[1].shutdown(socket.SHUT_RDWR)
        with pytest.raises(PlatformError, match="quit"):
            answer.result(5)
    monitor.close()


def test_command_given_as_the_loop_ends_is_told_at_once(
    ends: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Monitor._session
    answers: list[Future[object]] = []

    async def asked_at_its_end(self: Monitor, client: QMPClient) -> None:
        await session(self, client)
        handed = threading.Event()
        submit = asyncio.run_coroutine_threadsafe

        def noted(coroutine: Coroutine[Any, Any, object], loop: asyncio.AbstractEventLoop) -> Future[object]:
            answer = submit(coroutine, loop)
            handed.set()
            return answer

        monkeypatch.setattr(asyncio, "run_coroutine_threadsafe", noted)
        answers.append(pool.submit(self.execute, "quit"))
        assert handed.wait(5)  # the loop is held until then: its next turn is its last

    monkeypatch.setattr(Monitor, "_session", asked_at_its_end)
    with ThreadPoolExecutor() as pool:
        monitor = greeted(ends)
        monitor.close()
        with pytest.raises(PlatformError, match=r"QEMU .* quit"):
            answers[0].result(5)
