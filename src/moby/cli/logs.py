"""``moby logs``: what a machine said on its console."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from moby import log
from moby.context import Context
from moby.errors import PlatformError
from moby.machines import state
from moby.machines.machine import MEANINGS, PANIC, Console, panicked

EXAMPLES = """\
examples:
  moby logs web             what it said so far, or until its end
  moby logs -f web          and what it says from now on, until it ends
  moby logs -q web | grep nginx
  moby logs ./web-state     by its state directory, where several machines have one name"""
_POLL_S = 0.2


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby logs``."""
    parser.description = "Print a machine's console. Of one that has ended, it is kept until it is started again."
    parser.epilog = EXAMPLES
    parser.add_argument("machine", metavar="NAME", help="a name of moby ps --all, or a state directory")
    parser.add_argument("-f", "--follow", action="store_true", help="go on until the machine ends")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print it, and what comes with ``--follow``; say so on stderr when the machine does not run."""
    facts = state.find(arguments.machine, context.work, ended=True)
    directory = Path(facts.state)
    try:
        stream = (directory / "console.log").open("rb")
    except OSError as error:
        raise PlatformError(f"cannot read its console: {error.strerror}", where=str(directory)) from error
    with stream:
        while True:
            running = state.is_running(directory)
            sys.stdout.buffer.write(stream.read())
            sys.stdout.flush()
            if not running or not arguments.follow:
                break
            time.sleep(_POLL_S)
    if not running:
        log.info(f"{facts.name} is not running: {end(facts)}")
    return 0


def end(facts: state.Facts) -> str:
    """How a machine ended, as far as it is known."""
    status = state.exit_status(facts)
    if status is None and panicked(Console(Path(facts.state) / "console.log").tail()):
        status = PANIC
    if status is None:
        return "it ended, and nobody saw with what exit status"
    meaning = MEANINGS.get(status)
    return f"it ended with exit status {status}{f' ({meaning})' if meaning else ''}"
