"""Whether the guest takes connections on the ports that are published.

QEMU accepts connections on the host's ports before the guest listens, so that one was accepted proves nothing. But its
monitor tells the state of each TCP connection to the guest (``info usernet``): one that got further than ``SYN_SENT``
was answered by the guest. So a connection is made every now and then, and QEMU is asked what became of it.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from moby.errors import PlatformError
from moby.machines.options import LOOPBACK, Publish

_INTERVAL_S = 0.25
_PATIENCE_S = 5.0  # connections are kept for a guest that is slow to answer, or that hangs up at once
# "TCP[ESTABLISHED]   96       127.0.0.1 18080       10.0.2.15    80     0     0", libslirp's slirp_connection_info
_LINE = re.compile(r"TCP\[(\w+)\] +\d+ +\S+ +(\d+) +(\S+) +(\d+) ", re.ASCII)
_FORWARD = "HOST_FORWARD"
_UNANSWERED = (_FORWARD, "SYN_SENT", "SYN_RECEIVED", "CLOSED", "LISTEN", "NONE")


def answered(usernet: str) -> frozenset[tuple[int, int]]:
    """The pairs of host's and guest's port on which the guest answered, as the monitor's ``info usernet`` tells.

    Connections that the guest made itself are there, too: only those count that go where a forward does.
    """
    lines = [(state, (int(host), guest, int(port))) for state, host, guest, port in _LINE.findall(usernet)]
    forwards = {line for state, line in lines if state == _FORWARD}
    return frozenset(
        (host, port)
        for state, (host, guest, port) in lines
        if state not in _UNANSWERED and (host, guest, port) in forwards
    )


def wait(ports: Sequence[Publish], usernet: Callable[[], str], go_on: Callable[[Sequence[Publish]], None]) -> None:
    """Return once the guest has answered on each of ``ports``, which are TCP.

    ``usernet`` asks the monitor. ``go_on`` is called every now and then with the ports that did not answer, and ends
    the waiting by raising something. Raises ``PlatformError`` when this host has no socket left.
    """
    waiting = deque(ports)
    tries: deque[tuple[float, socket.socket]] = deque()
    try:
        while waiting:
            tries.append((time.monotonic(), _connection(waiting[0])))
            waiting.rotate()  # one at a time: QEMU keeps each for more than a minute
            time.sleep(_INTERVAL_S)
            found = answered(usernet())
            waiting = deque(each for each in waiting if (each.host_port, each.guest_port) not in found)
            while tries and time.monotonic() - tries[0][0] > _PATIENCE_S:
                tries.popleft()[1].close()
            if waiting:
                go_on(sorted(waiting, key=str))
    finally:
        for _, each in tries:
            each.close()


def host_address(port: Publish) -> str:
    """Where this host reaches a port that is published on all its addresses, or on one."""
    return {"0.0.0.0": LOOPBACK, "::": "::1"}.get(port.address, port.address)


def _connection(port: Publish) -> socket.socket:
    address = host_address(port)
    try:
        made = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        raise PlatformError(f"cannot connect to port {port.host_port}: {error.strerror}") from error
    made.setblocking(False)
    with contextlib.suppress(OSError):  # in progress, or refused: the machine's end is told by others
        made.connect((address, port.host_port))
    return made
