"""``moby logs``: what a machine said on its console."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from moby.context import Context
from moby.machines import state

_POLL_S = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby logs``."""
    parser.description = "Print a running machine's console."
    parser.add_argument("machine", metavar="NAME", help="a name of moby ps, or a state directory")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the machine ends")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print it, and what comes with ``--follow``."""
    directory = Path(state.find(arguments.machine, context.work).state)
    with (directory / "console.log").open("rb") as stream:
        while True:
            running = arguments.follow and state.is_running(directory)
            sys.stdout.buffer.write(stream.read())
            sys.stdout.flush()
            if not running:
                return 0
            time.sleep(_POLL_S)
