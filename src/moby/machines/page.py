"""The first answer of a guest's web server.

QEMU accepts connections before the guest listens, and such a connection may hang for seconds after it does. So a new
one is made several times a second, and the older ones are kept for a while, for guests that are slow to answer.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Callable

LIMIT_BYTES = 1 << 20

_INTERVAL_S = 0.15
_PATIENCE_S = 5.0


def first(address: str, port: int, path: str, go_on: Callable[[], None]) -> bytes:
    """The body of the first answer with status 200, as far as ``LIMIT_BYTES``.

    ``go_on`` is called every now and then, and ends the waiting by raising something.
    """
    tries: dict[socket.socket, _Try] = {}
    due_s = 0.0
    try:
        while True:
            now_s = time.monotonic()
            if now_s >= due_s:
                _start(tries, address, port, path, now_s)
                due_s = now_s + _INTERVAL_S
            ready = _ready(tries)
            for connection in ready:
                if (page := tries[connection].take(connection)) is not None:
                    return page
            for connection, each in list(tries.items()):
                if each.over or now_s - each.since_s > _PATIENCE_S:
                    connection.close()
                    del tries[connection]
            go_on()
    finally:
        for connection in tries:
            connection.close()


class _Try:
    """One connection: the request goes out as soon as it can, then the answer is collected until its end."""

    def __init__(self, request: bytes, since_s: float) -> None:
        self.since_s = since_s
        self.over = False
        self._request = request
        self._answer = b""

    @property
    def sending(self) -> bool:
        return bool(self._request)

    def take(self, connection: socket.socket) -> bytes | None:
        """Do what can be done now; the page when it is complete."""
        try:
            if self._request:
                self._request = self._request[connection.send(self._request) :]
                return None
            data = connection.recv(1 << 16)
        except BlockingIOError:
            return None
        except OSError:
            self.over = True
            return None
        self._answer += data
        head, separator, body = self._answer.partition(b"\r\n\r\n")
        whole = not data or len(body) >= _length(head)
        self.over = whole
        return body[:LIMIT_BYTES] if whole and separator and head.split(b" ", 2)[1:2] == [b"200"] else None


def _start(tries: dict[socket.socket, _Try], address: str, port: int, path: str, now_s: float) -> None:
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    connection.setblocking(False)
    with contextlib.suppress(OSError):  # in progress, or refused: taking it will tell
        connection.connect((address, port))
    host = f"[{address}]" if ":" in address else address
    request = f"GET {path} HTTP/1.0\r\nHost: {host}:{port}\r\n\r\n"
    tries[connection] = _Try(request.encode(), now_s)


def _ready(tries: dict[socket.socket, _Try]) -> list[socket.socket]:
    """Those that can go on; waits for a short while when none can."""
    poll = select.poll()
    for connection, each in tries.items():
        poll.register(connection, select.POLLOUT if each.sending else select.POLLIN)
    found = {descriptor for descriptor, _ in poll.poll(1000 * _INTERVAL_S / 3)}
    return [connection for connection in tries if connection.fileno() in found]


def _length(head: bytes) -> int:
    """How long the body is at most; as long as it gets where the server does not say."""
    for line in head.lower().split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name == b"content-length" and value.strip().isdigit():
            return min(int(value), LIMIT_BYTES)
    return LIMIT_BYTES
