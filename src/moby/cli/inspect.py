"""``moby inspect``: what is in a file, whoever made it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from moby.context import Context

EXAMPLES = """\
examples:
  moby inspect web-efi.img           partitions, file systems, the kernel's version and command line, the initrd
  moby inspect web                   all files of a build, by its name
  moby inspect --files web.tar       every file with mode, owner and size
  moby inspect --json --files web.iso | jq .

Understood are kernels, initrds, tar archives, EFI programs and unified kernel images with their signatures, raw disks
(GPT, MBR), FAT, ISO 9660, squashfs, EROFS, dm-verity trees, qcow2, VHD, VHDX and VMDK, also inside of each other. The
name of a file says nothing: its content is looked at.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby inspect``."""
    parser.description = "Show what an image is made of. Nothing is mounted or run."
    parser.epilog = EXAMPLES
    parser.add_argument("file", type=Path, metavar="FILE", help="a file, or the base name of a build")
    parser.add_argument("--files", action="store_true", help="list the files of archives and file systems")
    parser.add_argument("--json", action="store_true", help="print one JSON object; files have their SHA-256")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print what was found."""
    from moby.evidence import inspect
    from moby.evidence.look import Looker

    with Looker() as looker:
        found = inspect.form(inspect.opened(looker, arguments.file), looker, files=arguments.files)
    if arguments.json:
        print(json.dumps(found, indent=2))
    else:
        print("\n".join(inspect.lines(found)))
    return 0
