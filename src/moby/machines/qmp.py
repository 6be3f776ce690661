"""A blocking QMP client: ``qemu.qmp`` on an event loop of its own thread.

Commands may be given from any thread. Events are kept in order; when QEMU goes away, those it sent last are still read.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import threading
from collections.abc import Mapping
from typing import Any

from qemu.qmp import QMPClient, QMPError

from moby.errors import PlatformError

_CONNECT_S = 20
_COMMAND_S = 10


class Monitor:
    """A connection to QEMU's monitor over a connected socket, closed with the ``Monitor``."""

    def __init__(self, connection: socket.socket, *, timeout_s: float = _CONNECT_S) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._events: list[Mapping[str, Any]] = []
        self._ready: concurrent.futures.Future[QMPClient] = concurrent.futures.Future()
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="moby-qmp", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Wait for QEMU's greeting. Raises ``PlatformError`` when it does not come in time."""
        try:
            self._ready.result()
        except (QMPError, TimeoutError) as error:
            self._thread.join()
            raise PlatformError(f"QEMU's monitor does not answer: {error or 'timed out'}") from error

    def execute(self, command: str, **arguments: object) -> object:
        """Run one QMP command and return its answer. Raises ``PlatformError`` when QEMU is gone or refuses."""
        client = self._ready.result()
        coroutine = client.execute(command, arguments)
        try:
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_COMMAND_S)
        except (QMPError, TimeoutError, concurrent.futures.CancelledError) as error:
            raise PlatformError(f"QEMU does not take {command}: {error}") from error
        except RuntimeError as error:  # the loop has ended with the connection
            coroutine.close()
            raise PlatformError(f"QEMU is gone, cannot {command}") from error

    @property
    def events(self) -> tuple[Mapping[str, Any], ...]:
        """All events so far, oldest first; complete once the connection has ended."""
        return tuple(self._events)

    def join(self, timeout_s: float) -> None:
        """Wait until QEMU has closed the connection."""
        self._thread.join(timeout_s)

    def close(self) -> None:
        """Leave QEMU alone."""
        with contextlib.suppress(RuntimeError):  # the loop has ended already
            self._loop.call_soon_threadsafe(self._leave.set)
        self._thread.join()

    def _run(self) -> None:
        logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # failures are told by us
        try:
            self._loop.run_until_complete(self._session())
        finally:
            self._loop.close()

    async def _session(self) -> None:
        client = QMPClient()
        try:
            await asyncio.wait_for(client.connect(self._connection), self._timeout_s)
        except (QMPError, TimeoutError) as error:
            self._connection.close()
            self._ready.set_exception(error)
            return
        self._ready.set_result(client)
        collect = asyncio.create_task(self._collect(client))
        ends = asyncio.create_task(client.runstate_changed()), asyncio.create_task(self._leave.wait())
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        with contextlib.suppress(Exception):  # whatever ended the connection: it is over
            await client.disconnect()
        for task in (collect, *ends):
            task.cancel()
        await asyncio.gather(collect, *ends, return_exceptions=True)
        self._events += client.events.clear()

    async def _collect(self, client: QMPClient) -> None:
        async for event in client.events:
            self._events.append(event)
