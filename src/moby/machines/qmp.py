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

from moby import log
from moby.errors import PlatformError

_CONNECT_S = 20
_COMMAND_S = 10

# How a connection fails, times out or ends.
_LOST = (QMPError, OSError, EOFError)


class Monitor:
    """A connection to QEMU's monitor over a connected socket, closed with the ``Monitor``."""

    def __init__(self, connection: socket.socket, *, timeout_s: float = _CONNECT_S) -> None:
        self._connection = connection
        self._timeout_s = timeout_s
        self._events: list[Mapping[str, Any]] = []
        self._ready: concurrent.futures.Future[QMPClient] = concurrent.futures.Future()
        self._loop = asyncio.new_event_loop()
        self._leave = asyncio.Event()
        self._ending = threading.Lock()  # held while a command is handed to the loop, and while _ended is set
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="moby-qmp", daemon=True)
        self._thread.start()

    def open(self) -> None:
        """Wait for QEMU's greeting. Raises ``PlatformError`` when it does not come in time."""
        self._client()

    def _client(self) -> QMPClient:
        try:
            return self._ready.result()
        except _LOST as error:
            self._thread.join()
            raise PlatformError(f"QEMU's monitor does not answer: {str(error) or 'timed out'}") from error

    def execute(self, command: str, **arguments: object) -> object:
        """Run one QMP command and return its answer. Raises ``PlatformError`` when QEMU is gone or refuses."""
        client = self._client()
        with self._ending:
            if self._ended:
                raise PlatformError(f"QEMU is gone, cannot {command}")
            answer = asyncio.run_coroutine_threadsafe(_execute(client, command, arguments), self._loop)
        try:
            return answer.result(_COMMAND_S)
        except concurrent.futures.CancelledError as error:
            raise PlatformError(f"QEMU is gone, cannot {command}") from error
        except _LOST as error:
            answer.cancel()  # in vain, unless it was the time that ended
            raise PlatformError(f"QEMU does not take {command}: {str(error) or 'timed out'}") from error

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
            client = self._loop.run_until_complete(self._connect())
            if client is not None:
                self._loop.run_until_complete(self._session(client))
        finally:
            with self._ending:
                self._ended = True
            self._loop.run_until_complete(_cancel_all())
            self._loop.close()

    async def _connect(self) -> QMPClient | None:
        client = QMPClient()
        try:
            await asyncio.wait_for(client.connect(self._connection), self._timeout_s)
        except BaseException as error:  # raised again by whoever waits for the greeting
            self._connection.close()
            self._ready.set_exception(error)
            return None
        self._ready.set_result(client)
        return client

    async def _session(self, client: QMPClient) -> None:
        """Collect events until the connection ends, or is left."""
        collect = asyncio.create_task(self._collect(client))
        ends = asyncio.create_task(client.runstate_changed()), asyncio.create_task(self._leave.wait())
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        try:
            await client.disconnect()
        except Exception as error:  # such as one that words which are no text led to
            log.debug(f"QEMU's monitor ended: {error}")
        finally:
            for task in (collect, *ends):
                task.cancel()
            await asyncio.gather(collect, *ends, return_exceptions=True)
            self._events += client.events.clear()

    async def _collect(self, client: QMPClient) -> None:
        async for event in client.events:
            self._events.append(event)


async def _execute(client: QMPClient, command: str, arguments: dict[str, object]) -> object:
    """Run a command on the loop's own thread: the client's state may be asked there alone."""
    return await client.execute(command, arguments)


async def _cancel_all() -> None:
    """End every other task of the loop: a command given at the last moment would wait for its answer in vain."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
