"""How long `moby validate` takes for a file of 300 lines, and how that compares with starting Python.

python benchmarks/validate.py [--limit SECONDS]    status 1 when the median is above the limit (0.35)
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from moby import proc

ROUNDS = 9
HEAD = """\
kernel: {image: "@pkg:kernel", cmdline: console=ttyS0}
init: ["@pkg:init", "@pkg:crun"]
volumes: [{name: data}]
services:
"""
ENTRY = """\
  - name: service-{0}
    image: example.org/service:{0}
    capabilities:
      - CAP_NET_ADMIN
      - CAP_CHOWN
    binds:
      - /etc/resolv.conf:/etc/resolv.conf
      - data:/var/lib/service-{0}
    env: [MODE=production, "PORT={0}"]
    mounts: [{{type: tmpfs, destination: /tmp, options: [nosuid, nodev]}}]
"""


def text(lines: int) -> str:
    """A configuration of that many lines."""
    count, rest = divmod(lines - HEAD.count("\n"), ENTRY.count("\n"))
    return HEAD + "".join(ENTRY.format(number) for number in range(count)) + "# the end\n" * rest


def seconds(*words: str) -> float:
    """The median time of a program, after one run to warm up."""
    times = []
    for _ in range(ROUNDS + 1):
        begin = time.perf_counter()
        proc.run(words)
        times.append(time.perf_counter() - begin)
    return median(times[1:])


def main() -> int:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description="time moby validate")
    parser.add_argument("--limit", type=float, default=0.35, metavar="SECONDS")
    limit: float = parser.parse_args().limit
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "web.yml")
        file.write_text(text(300))
        taken = seconds(sys.executable, "-m", "moby", "validate", str(file))
    nothing = seconds(sys.executable, "-c", "pass")
    print(f"moby validate, 300 lines  {taken:.3f} s")
    print(f"python -c pass            {nothing:.3f} s")
    print(f"ratio                     {taken / nothing:.0f}")
    return int(taken > limit)


if __name__ == "__main__":
    sys.exit(main())
