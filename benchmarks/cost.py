"""What a command, or a function, takes: wall time, CPU time, memory of all its processes together."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

SAMPLE_S = 0.01


@dataclass(frozen=True, slots=True)
class Cost:
    """What a command took. ``peak_mib`` is the memory of all its processes together, at its highest."""

    wall_s: float
    cpu_s: float
    peak_mib: float = 0


class Memory(threading.Thread):
    """Adds up the memory of a process and those below it, a hundred times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mib = 0.0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        """Sample until ``stop``."""
        while not self._ended.wait(SAMPLE_S):
            together = list(family(self._pid))
            # A process that has just been forked shares everything with its parent.
            held = sum(map(share_mib, together)) if len(together) > 1 else 0
            self.peak_mib = max(self.peak_mib, held, highest_mib(self._pid))

    def stop(self) -> None:
        """End; ``peak_mib`` is final."""
        self._ended.set()
        self.join()


def family(pid: int) -> Iterator[int]:
    """A process and its descendants, any of which may end meanwhile."""
    yield pid
    children: list[str] = []
    try:
        for task in Path(f"/proc/{pid}/task").iterdir():
            children += (task / "children").read_text().split()
    except OSError:
        pass
    for child in children:
        yield from family(int(child))


def share_mib(pid: int) -> float:
    """What a process holds, of memory shared with others its share; 0 when it has ended."""
    return _status_mib(pid, "smaps_rollup", "Pss:")


def highest_mib(pid: int) -> float:
    """The most that one process held so far, between samples too; 0 when it has ended.

    The usage that is told at the end would count what its parent held when it was started.
    """
    return _status_mib(pid, "status", "VmHWM:")


def _status_mib(pid: int, file: str, key: str) -> float:
    try:
        found = Path(f"/proc/{pid}/{file}").read_text().partition(key)[2].split()
    except OSError:
        return 0
    return int(found[0]) / 1024 if found else 0


def measure(words: list[str], folder: Path, environment: dict[str, str]) -> Cost:
    """Run a command. Raises ``SystemExit`` with what it said when it fails."""
    begin = time.monotonic()
    process = subprocess.Popen(
        words, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    memory = Memory(process.pid)
    memory.start()
    assert process.stderr is not None
    with process.stderr as stream:
        said = stream.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.monotonic() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    memory.stop()
    if process.returncode:
        raise SystemExit(f"{' '.join(words)}\n{said}")
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, memory.peak_mib)


def timed(work: Callable[[], None], *, rounds: int = 3) -> Cost:
    """A function of this process, the best of its runs."""
    found = []
    for _ in range(rounds):
        begin, cpu = time.monotonic(), time.process_time()
        work()
        found.append(Cost(time.monotonic() - begin, time.process_time() - cpu))
    return best(found)


def best(found: list[Cost]) -> Cost:
    """Least wall time and least CPU time, but the most memory."""
    peak_mib = max(each.peak_mib for each in found)
    return Cost(min(each.wall_s for each in found), min(each.cpu_s for each in found), peak_mib)
