"""``moby migrate``: a file of March 2017 in the language of today."""

from __future__ import annotations

import argparse
import sys

from moby.context import Context

EXAMPLES = """\
examples:
  moby migrate moby.yaml > linux.yml
  moby migrate - < moby.yaml | moby validate -

Comments are kept. A file that is of today already is printed as it is.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby migrate``."""
    parser.description = "Print a file that has system:, daemon: or outputs: in the language of today."
    parser.epilog = EXAMPLES
    parser.add_argument("file", metavar="FILE.yml", help="path, http(s) URL, or -")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print the file."""
    from moby.config import load, migrate, source  # takes two YAML libraries along

    data = load.fetch(arguments.file, context)
    sys.stdout.write(migrate.migrate(source.decoded(data, arguments.file), file=arguments.file))
    return 0
