"""``moby stop``: the power button, then the plug."""

from __future__ import annotations

import argparse

from moby.context import Context
from moby.machines import qemu, state


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby stop``."""
    parser.description = "Press the power button of machines, and pull the plug when they do not power off in time."
    parser.epilog = "examples:\n  moby stop web\n  moby stop --timeout 0 web    at once"
    parser.add_argument("machines", nargs="+", metavar="NAME", help="names of moby ps, or state directories")
    parser.add_argument("--timeout", type=float, default=10, metavar="SECONDS", help="how long to wait (default 10)")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Stop each and print its name."""
    for name in arguments.machines:
        with qemu.attach_to(state.find(name, context.work)) as machine:
            machine.stop(arguments.timeout)
            print(machine.name)
    return 0
