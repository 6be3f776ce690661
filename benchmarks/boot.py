"""What a boot costs: CPU seconds of QEMU and wall seconds to the first page, and the least memory that gives it.

usage: python -m benchmarks.boot [--times N] [--memory MIB] [--least] [--by-itself] NAME…

NAME is the path of a kernel+initrd build without ``-kernel``, whose machine serves a page on port 80. With
``--by-itself`` each is also booted, in turns, by a kernel that unpacks itself, as it does where nothing is emulated.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import moby
from moby.errors import MobyError
from moby.machines import vmlinux
from moby.machines.options import RunOptions

PATIENCE_S = 90
STEP_MIB = 4


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot, from the start of QEMU to the page: seconds."""

    wall_s: float
    cpu_s: float


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, as /proc/PID/stat has it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def boot(name: Path, memory_mib: int | None = None) -> Boot:
    """Boot until the page comes. Raises ``MobyError`` when it does not."""
    port = free_port()
    options = RunOptions(memory_mib=memory_mib)
    begin = time.monotonic()
    with moby.run(name, publish={port: 80}, options=options) as machine:
        machine.wait_http(port, timeout_s=PATIENCE_S)
        measured = Boot(time.monotonic() - begin, cpu_seconds(machine.pid))
        machine.kill()
    return measured


def best(name: Path, times: int, memory_mib: int | None = None) -> Boot:
    """The boot that took least CPU: what else the machine does only adds."""
    return min((boot(name, memory_mib) for _ in range(times)), key=lambda each: each.cpu_s)


def by_itself(name: Path, memory_mib: int | None = None) -> Boot:
    """As ``boot``, with a kernel that unpacks itself."""
    with mock.patch.object(vmlinux, "unpack", return_value=False):
        return boot(name, memory_mib)


def medians(name: Path, times: int, memory_mib: int | None = None) -> tuple[Boot, Boot]:
    """The medians of boots of both kinds, which take turns: a shared host changes its pace."""
    pairs = [(boot(name, memory_mib), by_itself(name, memory_mib)) for _ in range(times)]
    ours, its = zip(*pairs, strict=True)
    return _median(ours), _median(its)


def _median(boots: Sequence[Boot]) -> Boot:
    return Boot(statistics.median(each.wall_s for each in boots), statistics.median(each.cpu_s for each in boots))


def least_memory(name: Path) -> int:
    """The least MiB with which the page comes, to ``STEP_MIB``."""
    low, high = 32, 2048
    while high - low > STEP_MIB:
        middle = (low + high) // 2
        try:
            boot(name, middle)
            high = middle
        except MobyError:
            low = middle
    return high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", type=Path, metavar="NAME")
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--memory", type=int, metavar="MIB", help="of the timed boots (default: what moby run gives)")
    parser.add_argument("--least", action="store_true", help="find the least memory too")
    parser.add_argument("--by-itself", action="store_true", help="compare with a kernel that unpacks itself")
    arguments = parser.parse_args()
    print("| Build | Initrd MB | Wall s | CPU s | Least memory MiB |\n|---|---:|---:|---:|---:|")
    for name in arguments.names:
        size = Path(f"{name}-initrd.img").stat().st_size / 1e6
        measured = best(name, arguments.times, arguments.memory)
        least = f"{least_memory(name)}" if arguments.least else ""
        print(f"| {name} | {size:.1f} | {measured.wall_s:.1f} | {measured.cpu_s:.1f} | {least} |", flush=True)
    if arguments.by_itself:
        print("\n| Medians | Wall s | CPU s | by itself, wall s | CPU s |\n|---|---:|---:|---:|---:|")
        for name in arguments.names:
            ours, its = medians(name, arguments.times, arguments.memory)
            print(f"| {name} | {ours.wall_s:.1f} | {ours.cpu_s:.1f} | {its.wall_s:.1f} | {its.cpu_s:.1f} |", flush=True)


if __name__ == "__main__":
    main()
