"""``moby validate``: what the YAML alone shows to be wrong, without network and without building."""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from moby import log
from moby.context import Context
from moby.errors import ConfigError

EXAMPLES = """\
examples:
  moby validate web.yml
  moby validate base.yml web.yml     together, as moby build would merge them
  moby validate --json - < web.yml   for editors and CI: file, line and column of each fault

Images are not looked at; moby build finds what their labels have wrong before it writes anything.
"""
_WHERE = re.compile(r"(?P<file>.*?):(?P<line>\d+):(?P<column>\d+)(?: \((?P<path>.*)\))?", re.DOTALL)


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby validate``."""
    parser.description = "Check YAML files, merged in order; - reads stdin. Status 0 when they are valid, 1 when not."
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE.yml", help="path, http(s) URL, or -")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all faults and notices")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Check the files; faults go to stderr, or with ``--json`` to stdout."""
    from moby.config import load  # takes pydantic along, and completion imports this module

    try:
        config = load.load(arguments.files, context=context, templates=name)
    except ConfigError as error:
        if not arguments.json:
            raise
        print(json.dumps(report((error, *error.others), ()), indent=2, ensure_ascii=False))
        return 1
    if arguments.json:
        print(json.dumps(report((), config.notices), indent=2, ensure_ascii=False))
        return 0
    for notice in config.notices:
        log.info(f"notice: {notice}")
    print(f"{' '.join(arguments.files)}: valid")
    return 0


def name(kind: str, argument: str, directory: Path | None) -> str:
    """An image name for a component that exists. Raises ``ConfigError`` when there is none."""
    from moby.components import catalog

    catalog.directory(argument, directory)
    return "localhost/moby/component"


def report(faults: tuple[ConfigError, ...], notices: tuple[str, ...]) -> dict[str, object]:
    """The result as plain data."""
    return {"valid": not faults, "faults": [_fault(each) for each in faults], "notices": list(notices)}


def _fault(error: ConfigError) -> dict[str, object]:
    found = _WHERE.fullmatch(error.where)
    place: dict[str, object] = {"file": error.where, "line": None, "column": None, "path": None}
    if found:
        place = {**found.groupdict(), "line": int(found["line"]), "column": int(found["column"])}
    return {**place, "what": error.what, "fix": error.fix}
