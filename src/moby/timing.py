"""Where the time of a build goes: rows of part and stage, collected for ``--timings``.

Whoever wants them calls ``collecting``; without that ``stage`` and ``add`` cost next to nothing. Stages may overlap:
packing runs beside reading.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One stage of one part (``""``: of the whole build).

    ``seconds`` is wall time, ``cpu_seconds`` that of the thread that did it, ``size_bytes`` what it made.
    """

    part: str
    stage: str
    seconds: float
    cpu_seconds: float
    size_bytes: int = 0


_rows: ContextVar[list[Row] | None] = ContextVar("moby_timings", default=None)


@contextlib.contextmanager
def collecting() -> Iterator[list[Row]]:
    """The rows of what happens within the block, in the order in which stages end."""
    rows: list[Row] = []
    token = _rows.set(rows)
    try:
        yield rows
    finally:
        _rows.reset(token)


@contextlib.contextmanager
def stage(name: str, part: str = "") -> Iterator[None]:
    """Time what happens within the block, in this thread."""
    begin, cpu = time.perf_counter(), time.thread_time()
    yield
    add(part, name, seconds=time.perf_counter() - begin, cpu_seconds=time.thread_time() - cpu)


def add(part: str, stage: str, *, seconds: float, cpu_seconds: float, size_bytes: int = 0) -> None:
    """Note a stage that was timed elsewhere."""
    rows = _rows.get()
    if rows is not None:
        rows.append(Row(part=part, stage=stage, seconds=seconds, cpu_seconds=cpu_seconds, size_bytes=size_bytes))


def table(rows: list[Row]) -> str:
    """The rows for people, one a line."""
    lines = [f"{'part':<16}{'stage':<12}{'wall s':>8}{'CPU s':>8}{'MB':>9}"]
    for row in rows:
        size = f"{row.size_bytes / 1e6:9.1f}" if row.size_bytes else ""
        lines.append(f"{row.part or '-':<16}{row.stage:<12}{row.seconds:8.3f}{row.cpu_seconds:8.3f}{size}")
    return "\n".join(lines)
