"""The bounded pool of threads that moves blobs."""

from __future__ import annotations

import contextlib
import contextvars
import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

PARALLEL = 4
_PATIENCE_S = 2

_Item = TypeVar("_Item")


class Stopped(Exception):
    """The whole transfer was given up."""


def each(items: Sequence[_Item], work: Callable[[_Item, threading.Event], None], *, parallel: int = PARALLEL) -> None:
    """Do ``work`` on every item, at most ``parallel`` at a time; the first failure is raised and ends all.

    ``work`` gets an event that is set when all is over; it may raise ``Stopped`` then.
    """
    todo = queue.SimpleQueue[_Item]()
    results = queue.SimpleQueue[BaseException | None]()
    for item in items:
        todo.put(item)
    stop = threading.Event()
    # Daemons, so that Ctrl-C need not wait for a server that is silent. Each has a copy of the context, which holds
    # where progress is reported.
    workers = [
        threading.Thread(target=contextvars.copy_context().run, args=(_drain, todo, results, work, stop), daemon=True)
        for _ in items[:parallel]
    ]
    for worker in workers:
        worker.start()
    try:
        for _ in items:
            if (error := results.get()) is not None:
                raise error
    finally:
        stop.set()
        for worker in workers:
            worker.join(_PATIENCE_S)


def _drain(
    todo: queue.SimpleQueue[_Item],
    results: queue.SimpleQueue[BaseException | None],
    work: Callable[[_Item, threading.Event], None],
    stop: threading.Event,
) -> None:
    """Take items until there are none; every one has a result."""
    with contextlib.suppress(queue.Empty, Stopped):
        while True:
            item = todo.get_nowait()
            try:
                work(item, stop)
            except Exception as error:  # a bug, too, belongs to the thread that waits
                results.put(error)
                raise Stopped from error
            results.put(None)
