"""``moby ps``: the machines that run."""

from __future__ import annotations

import argparse
import dataclasses
import json
import time

from moby.context import Context
from moby.machines import state


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby ps``."""
    parser.description = "List running machines."
    parser.add_argument("--json", action="store_true", help="one JSON object")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print them, oldest first."""
    machines = state.running(context.work)
    if arguments.json:
        print(json.dumps({"machines": [dataclasses.asdict(facts) for facts in machines]}, indent=2))
        return 0
    print(f"{'NAME':<20} {'PID':>8} {'UP':>8}  PORTS")
    for facts in machines:
        up_s = int(time.time() - facts.started_s)
        print(f"{facts.name:<20} {facts.pid:>8} {up_s:>7}s  {', '.join(facts.publish)}")
    return 0
