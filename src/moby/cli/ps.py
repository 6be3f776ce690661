"""``moby ps``: the machines that run, or all that are known."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

from moby.context import Context
from moby.machines import state

EXAMPLES = """\
examples:
  moby ps                                     name, process, time since the start and published ports
  moby ps --all                               and those that ended, which moby logs still knows
  moby ps --json | jq -r '.machines[].name'   the names alone
  moby ps --json | jq '.machines[].state'     where disks and consoles are kept

moby run -d starts a machine, moby stop NAME ends it; moby logs NAME shows its console, also after its end."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby ps``."""
    parser.description = "List running machines."
    parser.epilog = EXAMPLES
    parser.add_argument("-a", "--all", action="store_true", help="also those that ended, which moby logs still knows")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print them, oldest first."""
    machines = [(facts, runs) for facts, runs in state.known(context.work) if runs or arguments.all]
    if arguments.json:
        told = [{**dataclasses.asdict(facts), "running": runs} for facts, runs in machines]
        print(json.dumps({"machines": told}, indent=2))
        return 0
    print(f"{'NAME':<20} {'PID':>8} {'UP':>8}  PORTS")
    for facts, runs in machines:
        if runs:
            up_s = int(time.time() - facts.started_s)
            print(f"{facts.name:<20} {facts.pid:>8} {up_s:>7}s  {', '.join(facts.publish)}")
        else:
            print(f"{facts.name:<20} {'-':>8} {'ended':>8}  ")
    return 0
