"""``moby version``."""

from __future__ import annotations

import argparse

from moby import __version__

TYPE_CHECKING = False  # see main
if TYPE_CHECKING:
    from moby.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby version``."""
    parser.description = "Print the version."
    parser.add_argument("--short", action="store_true", help="the number alone")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def execute(arguments: argparse.Namespace, context: Context | None = None) -> int:
    """Print it."""
    if arguments.json:
        import json

        print(json.dumps({"version": __version__}))
    else:
        print(__version__ if arguments.short else f"moby version {__version__}")
    return 0
