"""The demo: build examples/web.yml, boot it, print the page it serves and where the time went."""

from __future__ import annotations

import argparse
import socket
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import moby
from moby import log
from moby.errors import MobyError

if TYPE_CHECKING:
    from collections.abc import Iterator

YAML = Path("examples/web.yml")
OUTPUTS = Path("build/demo")
PREFERRED_PORT = 8080
PATIENCE_S = 120


def free_port() -> int:
    """8080 when nobody has it, else any free one."""
    for port in (PREFERRED_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port")


class Clock:
    """Times the steps of the demo."""

    def __init__(self, started_s: float) -> None:
        self.rows = [("set up", time.time() - started_s)]

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step."""
        begin = time.monotonic()
        yield
        self.rows.append((name, time.monotonic() - begin))

    def __str__(self) -> str:
        """A table, with the sum."""
        rows = [*self.rows, ("together", sum(seconds for _, seconds in self.rows))]
        return "\n".join(f"  {name:<24}{seconds:6.1f} s" for name, seconds in rows)


def demo(clock: Clock, *, once: bool) -> None:
    """Build, boot, show; then wait for Ctrl-C unless ``once``."""
    OUTPUTS.mkdir(parents=True, exist_ok=True)
    with clock.step("build"):
        artifacts = moby.build(YAML, directory=OUTPUTS)
    port = free_port()
    with clock.step("start QEMU"):
        machine = moby.run(artifacts, publish={port: 80})
    with machine:
        with clock.step("boot until the page"):
            page = machine.wait_http(port, timeout_s=PATIENCE_S)
        size = sum(artifact.size_bytes for artifact in artifacts)
        print(f"\nhttp://127.0.0.1:{port}/ is served by nginx in a virtual machine of {size / 1e6:.1f} MB:\n")
        print(page.decode(errors="replace"))
        print(f"{clock}\n", flush=True)
        if once:
            return
        print(f"Edit {YAML} and run this again. Ctrl-C stops the machine.", flush=True)
        machine.wait()


def main() -> int:
    """Run the demo and return an exit status."""
    parser = argparse.ArgumentParser(prog="scripts/demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop the machine after the page")
    parser.add_argument("--started", type=float, default=time.time(), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    log.use(log.Console())
    try:
        demo(Clock(arguments.started), once=arguments.once)
    except MobyError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
