"""``python -m tests.support.run_machine WORK PREFIX …``: the tool, to be killed.

Runs a machine in the foreground as ``moby run`` does, so that tests can send signals to a process of its own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from moby import log
from moby.context import Context
from moby.errors import MobyError
from moby.machines import qemu
from moby.machines.options import Publish, RunOptions
from moby.machines.terminal import run_foreground


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("work", type=Path)
    parser.add_argument("prefix", type=Path)
    parser.add_argument("--detach", action="store_true")
    parser.add_argument("--publish", action="append", type=Publish.parse, default=[])
    parser.add_argument("--stop-timeout", type=float, default=10)
    parser.add_argument("--accelerator")
    asked = parser.parse_args()
    log.use(log.Console())
    context = Context(store=asked.work / "store", work=asked.work)
    options = RunOptions(
        publish=tuple(asked.publish),
        detach=asked.detach,
        stop_timeout_s=asked.stop_timeout,
        accelerator=asked.accelerator,
    )
    try:
        if asked.detach:
            print(qemu.run(asked.prefix, options, context).pid)
            return 0
        streams = sys.stdin.buffer, sys.stdout.buffer
        return run_foreground(asked.prefix, options, context, stdin=streams[0], stdout=streams[1])
    except MobyError as error:
        log.error(str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
