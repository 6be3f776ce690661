"""Waiting for a page: servers on loopback that behave like QEMU before its guest is up, and like slow guests."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from moby.machines import page

OK = b"HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\n<h1>hi</h1>"

Answer = Callable[[int, socket.socket], bytes | None]


@contextlib.contextmanager
def serving(answer: Answer) -> Iterator[int]:
    """A server whose ``answer`` is given the number of each connection; None leaves it open."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        kept: list[socket.socket] = []

        def one(number: int, connection: socket.socket) -> None:
            with contextlib.suppress(OSError):  # whoever asked has what it wanted and is gone
                text = answer(number, connection)
                if text is not None:
                    connection.recv(4096)
                    connection.sendall(text)
                    connection.close()

        def run() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                kept.append(connection)
                threading.Thread(target=one, args=(len(kept), connection), daemon=True).start()

        threading.Thread(target=run, daemon=True).start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        for each in kept:
            each.close()


def limit(seconds: float) -> Callable[[], None]:
    deadline = time.monotonic() + seconds

    def go_on() -> None:
        if time.monotonic() > deadline:
            raise TimeoutError

    return go_on


def fetched(answer: Answer, seconds: float = 5) -> tuple[bytes, float]:
    begin = time.monotonic()
    with serving(answer) as port:
        found = page.first("127.0.0.1", port, "/", limit(seconds))
    return found, time.monotonic() - begin


def test_the_body_of_an_answer() -> None:
    assert fetched(lambda number, _: OK)[0] == b"<h1>hi</h1>"


def test_connections_that_hang_do_not_hold_up_a_later_one() -> None:
    found, taken_s = fetched(lambda number, _: OK if number > 3 else None)
    assert found == b"<h1>hi</h1>"
    assert taken_s < 2


def test_an_answer_that_takes_its_time_is_waited_for() -> None:
    def slow(number: int, _: socket.socket) -> bytes:
        time.sleep(1)
        return OK

    assert fetched(slow)[0] == b"<h1>hi</h1>"


@pytest.mark.parametrize("text", [b"HTTP/1.0 503 Later\r\n\r\n", b"", b"nonsense", b"HTTP/1.0 200 OK\r\nno end"])
def test_other_answers_are_not_the_page(text: bytes) -> None:
    assert fetched(lambda number, _: text if number < 3 else OK)[0] == b"<h1>hi</h1>"


def test_an_answer_that_says_its_length_need_not_end() -> None:
    def open_ended(number: int, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi")

    assert fetched(open_ended)[0] == b"hi"


def test_a_long_page_is_cut() -> None:
    body = b"x" * (2 * page.LIMIT_BYTES)
    assert len(fetched(lambda number, _: b"HTTP/1.0 200 OK\r\n\r\n" + body)[0]) == page.LIMIT_BYTES


def test_nobody_there_is_waited_for_until_told_otherwise() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TimeoutError):
        page.first("127.0.0.1", port, "/", limit(0.4))
