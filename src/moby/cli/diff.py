"""``moby diff``: what differs between two images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from moby.context import Context

EXAMPLES = """\
examples:
  moby diff web.tar old/web.tar
  moby diff web old/web              all files of two builds, by their names
  moby diff a-efi.img b.qcow2        the disk inside of a container is compared, too

A difference is shown where it is: a changed file of the root is one line, not also the initrd, the partition and the
disk around it. Status 0: the same bytes, or disk images of different kinds with the same disk; 1: a difference.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby diff``."""
    parser.description = "Show the entries in which two images differ: content, mode, owner, time, links, attributes."
    parser.epilog = EXAMPLES
    parser.add_argument("a", type=Path, metavar="A", help="a file, or the base name of a build")
    parser.add_argument("b", type=Path, metavar="B", help="another one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print the differences, one a line."""
    from moby.evidence.diff import diff

    found = diff(arguments.a, arguments.b)
    if arguments.json:
        forms = [each.form() for each in found]
        print(json.dumps({"same": not found, "differences": forms}, indent=2))
    else:
        print("\n".join(map(str, found)) if found else "no differences")
    return 1 if found else 0
