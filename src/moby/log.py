"""Messages and progress, all on stderr; results go to stdout and are printed by the CLI alone.

A process has one terminal, so this module has one ``Reporter``, set by ``cli/main.py``; libraries that use Moby get a
silent one. ``step`` nests and times; ``Progress`` shows a bar only on a terminal.
"""

from __future__ import annotations

import contextlib
import enum
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Level(enum.IntEnum):
    """How much is said: the numbers of ``-v``."""

    ERROR = 0
    INFO = 1
    DEBUG = 2
    TRACE = 3


class Bar(Protocol):
    """What a long transfer tells its reporter."""

    def advance(self, count: int) -> None:
        """``count`` more bytes are done."""
        ...


class Reporter(Protocol):
    """Where messages go."""

    def message(self, level: Level, text: str) -> None:
        """Say one line."""
        ...

    def step(self, text: str) -> contextlib.AbstractContextManager[None]:
        """Say that a step begins and, at its end, how long it took."""
        ...

    def bar(self, text: str, total: int) -> contextlib.AbstractContextManager[Bar]:
        """Show the progress of ``total`` bytes."""
        ...


class _NoBar:
    def advance(self, count: int) -> None:
        """Nothing to show."""


class Silent:
    """Says nothing: the default when Moby is used as a library."""

    def message(self, level: Level, text: str) -> None:
        """Nothing to say."""

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Run the step."""
        yield

    @contextlib.contextmanager
    def bar(self, text: str, total: int) -> Iterator[Bar]:
        """Run the transfer."""
        yield _NoBar()


class Console:
    """Plain lines for people: one per step with its time, a bar for downloads on a terminal."""

    def __init__(self, level: Level = Level.INFO, stream: TextIO | None = None) -> None:
        self._level = level
        self._stream = stream if stream is not None else sys.stderr
        self._depth = 0
        self._lock = threading.Lock()
        self._progress: Progress | None = None

    def message(self, level: Level, text: str) -> None:
        """Print ``text`` when ``level`` is wanted."""
        if level <= self._level:
            _line(self._stream, "  " * self._depth + text)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """Print the step, then what happens in it, indented, then its time when it took one second or nested."""
        if self._level < Level.INFO:
            yield
            return
        self.message(Level.INFO, f"{text} …")
        begin = time.monotonic()
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
        self.message(Level.INFO, f"{text}: {time.monotonic() - begin:.1f} s")

    @contextlib.contextmanager
    def bar(self, text: str, total: int) -> Iterator[Bar]:
        """A rich progress bar on a terminal, one line elsewhere."""
        if self._level < Level.INFO or not self._stream.isatty():
            self.message(Level.INFO, f"{text} ({total / 1e6:.1f} MB)")
            yield _NoBar()
            return
        with self._lock:
            progress = self._shown()
            task = progress.add_task("  " * self._depth + text, total=total)

        class _RichBar:
            def advance(self, count: int) -> None:
                progress.advance(task, count)

        try:
            yield _RichBar()
        finally:
            self._remove(task)

    def _shown(self) -> Progress:
        """The one live display of this terminal: parallel transfers are its lines."""
        from rich.console import Console as RichConsole  # slow to import, only needed here
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        if self._progress is None:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._progress = Progress(*columns, console=RichConsole(file=self._stream), transient=True)
            self._progress.start()
        return self._progress

    def _remove(self, task: TaskID) -> None:
        with self._lock:
            assert self._progress is not None, "a bar is open"
            self._progress.remove_task(task)
            if not self._progress.task_ids:
                self._progress.stop()
                self._progress = None


class JsonLines:
    """``--progress=json``: one JSON object per event."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream if stream is not None else sys.stderr

    def _event(self, **fields: object) -> None:
        _line(self._stream, json.dumps(fields))

    def message(self, level: Level, text: str) -> None:
        """One ``message`` event."""
        self._event(event="message", level=level.name.lower(), text=text)

    @contextlib.contextmanager
    def step(self, text: str) -> Iterator[None]:
        """``begin`` and ``end`` events; the end carries seconds."""
        self._event(event="begin", step=text)
        begin = time.monotonic()
        yield
        self._event(event="end", step=text, seconds=round(time.monotonic() - begin, 3))

    @contextlib.contextmanager
    def bar(self, text: str, total: int) -> Iterator[Bar]:
        """``begin`` and ``end`` events of a transfer with its size in bytes."""
        self._event(event="begin", transfer=text, bytes=total)
        yield _NoBar()
        self._event(event="end", transfer=text, bytes=total)


def _line(stream: TextIO, text: str) -> None:
    """One write for the line and its end, since threads share the stream."""
    stream.write(f"{text}\n")
    stream.flush()


_SILENT = Silent()
_reporter: ContextVar[Reporter] = ContextVar("moby_reporter", default=_SILENT)


@contextlib.contextmanager
def reporting(reporter: Reporter) -> Iterator[None]:
    """Send everything to ``reporter`` within the block."""
    token = _reporter.set(reporter)
    try:
        yield
    finally:
        _reporter.reset(token)


def use(reporter: Reporter) -> None:
    """Send everything to ``reporter`` from now on."""
    _reporter.set(reporter)


def error(text: str) -> None:
    """Say something even when quiet."""
    _reporter.get().message(Level.ERROR, text)


def info(text: str) -> None:
    """Say something at the default level."""
    _reporter.get().message(Level.INFO, text)


def debug(text: str) -> None:
    """Say something under ``-v 2``."""
    _reporter.get().message(Level.DEBUG, text)


def step(text: str) -> contextlib.AbstractContextManager[None]:
    """``with log.step("Pulling nginx:1.27"):`` nests and times."""
    return _reporter.get().step(text)


def bar(text: str, total: int) -> contextlib.AbstractContextManager[Bar]:
    """``with log.bar("layer", size) as bar: bar.advance(n)``."""
    return _reporter.get().bar(text, total)
