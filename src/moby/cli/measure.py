"""``moby measure``: what a TPM will say of an image."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from moby.context import Context
from moby.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby measure``."""
    parser.description = "Print the value that PCR 11 will have once a unified kernel image has started its kernel."
    parser.epilog = "examples:\n  moby build -f uki web.yml && moby measure web.efi"
    parser.add_argument("image", type=Path, metavar="FILE.efi", help="a unified kernel image")
    parser.add_argument("--bank", default="sha256", help="hash of the PCR bank (default sha256)")
    parser.add_argument("--json", action="store_true", help="one JSON object")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print it. Raises ``ConfigError`` and ``IntegrityError``."""
    from moby.formats import pcr

    try:
        with arguments.image.open("rb") as stream:
            value = pcr.predict(stream, bank=arguments.bank, where=str(arguments.image))
    except OSError as error:
        raise ConfigError(f"cannot read it: {error.strerror}", where=str(arguments.image)) from error
    print(json.dumps({"pcr": 11, "bank": arguments.bank, "value": value}) if arguments.json else value)
    return 0
