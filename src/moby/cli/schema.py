"""``moby schema``."""

from __future__ import annotations

import argparse
import json

from moby.context import Context

EXAMPLES = """\
examples:
  moby schema > moby.schema.json

An editor with the YAML language server then knows the keys of a file that begins with
  # yaml-language-server: $schema=moby.schema.json
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby schema``."""
    parser.description = "Print the JSON Schema (draft 2020-12) of the YAML language."
    parser.epilog = EXAMPLES


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print it."""
    from moby.config.schema import json_schema  # slow to import, and completion imports this module

    print(json.dumps(json_schema(), indent=2))
    return 0
