"""``moby verify``: whether an image is what its YAML gives."""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import moby
from moby.cli.build import add_image_options, image_options
from moby.context import Context

EXAMPLES = """\
examples:
  moby verify web-efi.img web.yml        built again, compared byte by byte
  moby verify web web.yml                kernel, initrd and command line
  moby verify --no-sbom -f tar root.tar base.yml web.yml

Options that decide what is in the image must be given as they were to moby build. Status 0: identical; 1: not, and the
first file that differs is named with the input that it comes from.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby verify``."""
    parser.description = "Build YAML files again, and compare the result with an image."
    parser.epilog = EXAMPLES
    parser.add_argument("artifact", type=Path, metavar="ARTIFACT", help="a file of a build, or its base name")
    parser.add_argument("files", nargs="+", metavar="FILE.yml", help="what it was built from")
    parser.add_argument("-f", "--format", default="", metavar="F", help="its format, where its name does not tell")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="leave what was built in this directory")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_image_options(parser)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Build again, compare, and say what differs."""
    from moby import decision
    from moby.evidence import verify
    from moby.evidence.origins import Origins
    from moby.oci.store import Store

    given = verify.given(arguments.artifact, arguments.format)
    options = image_options(arguments)
    with tempfile.TemporaryDirectory(prefix="moby-verify-") as scratch:
        folder = arguments.keep or Path(scratch)
        (rebuilt,) = moby.build(
            arguments.files,
            formats=[given.format.name],
            name=given.name,
            directory=folder,
            options=options,
            context=context,
        )
        store = Store(context.store, verified=context.verified)

        def cause(place: tuple[str, ...]) -> str:
            plan = decision.decide(arguments.files, store, context=context, options=replace(options, pull=False))
            return Origins(plan, store).of(place)

        verdict = verify.verify(given, dict(rebuilt.files), cause)
    if arguments.json:
        print(json.dumps(verdict.form(), indent=2))
    else:
        print("\n".join(verdict.lines()))
    return 0 if verdict.identical else 1
