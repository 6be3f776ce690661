"""The figures of the README, for examples/web.yml on this machine.

python -m benchmarks.figures            all of them
python -m benchmarks.figures --quick    without the search for the smallest memory
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from benchmarks.boot import free_port
from benchmarks.cost import measure

import moby
from moby import proc
from moby.artifact import Artifact
from moby.errors import PlatformError
from moby.machines.options import RunOptions

YAML = Path(__file__).parents[1] / "examples/web.yml"
RUNS = 5
STEP_MIB = 8


def page_s(artifacts: Sequence[Artifact], memory_mib: int | None = None, patience_s: float = 60) -> float:
    """Seconds from QEMU's start to the page."""
    port = free_port()
    begin = time.monotonic()
    options = RunOptions(memory_mib=memory_mib, accelerator="tcg")
    with moby.run(artifacts, publish={port: 80}, options=options) as machine:
        machine.wait_http(port, timeout_s=patience_s)
        taken = time.monotonic() - begin
        machine.kill()
    return taken


def boots(artifacts: Sequence[Artifact], memory_mib: int) -> bool:
    """Whether the page comes with this much memory."""
    try:
        page_s(artifacts, memory_mib, patience_s=25)
    except PlatformError:
        return False
    return True


def smallest_memory_mib(artifacts: Sequence[Artifact]) -> int:
    """By bisection, to ``STEP_MIB``."""
    low, high = 32, 512
    while high - low > STEP_MIB:
        middle = (low + high) // 2
        low, high = (low, middle) if boots(artifacts, middle) else (middle, high)
    return high


def command_s(words: Sequence[str]) -> float:
    """The median wall time of a command."""

    def once() -> float:
        begin = time.monotonic()
        proc.run(words)
        return time.monotonic() - begin

    return timed(once)


def timed(once: Callable[[], float]) -> float:
    """The median of several runs."""
    return median(once() for _ in range(RUNS))


def build_peak_mib() -> float:
    """The most memory one build holds, with everything to be written anew."""
    with tempfile.TemporaryDirectory() as folder:
        words = [sys.executable, "-m", "moby", "-q", "build", "--dir", folder, str(YAML)]
        return measure(words, Path(folder), dict(os.environ)).peak_mib


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the search for the smallest memory")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        artifacts = moby.build(YAML, directory=Path(folder))
        sizes = {role: path.stat().st_size / 1e6 for role, path in artifacts[0].files}
        print(f"kernel                                {sizes['kernel']:6.1f} MB")
        print(f"initrd                                {sizes['initrd']:6.1f} MB")
        print(f"QEMU's start to the page, TCG         {timed(lambda: page_s(artifacts)):6.1f} s")
        if not arguments.quick:
            print(f"smallest --mem that serves the page   {smallest_memory_mib(artifacts):6d} MiB")
    print(f"peak memory of moby build             {build_peak_mib():6.0f} MiB")
    nothing = command_s([sys.executable, "-c", "pass"])
    print(f"moby --help / python -c pass          {command_s([sys.executable, '-m', 'moby', '--help']) / nothing:6.1f}")


if __name__ == "__main__":
    main()
