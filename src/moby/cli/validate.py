"""``moby validate``: what the YAML and the images at hand show to be wrong, without network and without building."""

from __future__ import annotations

import argparse
import json
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from moby import log
from moby.context import Context
from moby.errors import MobyError

if TYPE_CHECKING:
    from moby.config import load
    from moby.config.model import Config
    from moby.oci.reference import Reference

EXAMPLES = """\
examples:
  moby validate web.yml
  moby validate base.yml web.yml     together, as moby build would merge them
  moby validate --json - < web.yml   for editors and CI: file, line and column of each fault

Nothing is pulled or built. Labels of images that the store has are checked too; images it has not, and the files
that source: names, are looked at by moby build, which tells everything wrong before it pulls or writes anything.
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby validate``."""
    parser.description = "Check YAML files, merged in order; - reads stdin. Status 0 when they are valid, 1 when not."
    parser.epilog = EXAMPLES
    parser.add_argument("files", nargs="+", metavar="FILE.yml", help="path, http(s) URL, or -")
    parser.add_argument("--json", action="store_true", help="print one JSON object with all faults and notices")


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Check the files; faults go to stderr, or with ``--json`` to stdout."""
    from moby.config import checks, load  # take pydantic along, and completion imports this module

    found = load.draft(arguments.files, context=context, templates=name)
    try:
        check(found, context)
    except MobyError as error:
        if not arguments.json:
            raise
        print(json.dumps(report(error.each), indent=2, ensure_ascii=False))
        return 1
    notices, warnings = found.config.notices, tuple(checks.warnings(found.config))
    if arguments.json:
        print(json.dumps(report((), notices, warnings), indent=2, ensure_ascii=False))
        return 0
    for notice in notices:
        log.info(f"notice: {notice}")
    for warning in warnings:
        log.info(f"warning: {warning}")
    print(f"{' '.join(found.files)}: valid")
    return 0


def check(found: load.Draft, context: Context) -> None:
    """Raise one error that carries all faults, those of the labels of images in the store among them."""
    if found.config.outputs:
        from moby import decision  # knows the formats, and everything else

        found = decision.with_formats(found)
    if not found.is_readable or not any_at_hand(found.config, context.store / "index.json"):
        found.checked()
        return
    from moby.artifact import Architecture, host_architecture
    from moby.oci.at_hand import AtHand
    from moby.oci.store import Store
    from moby.plan import plan

    def exists(path: Path) -> os.stat_result:
        return os.stat_result((stat.S_IFREG, *[0] * 9))

    target = host_architecture() or Architecture.AMD64
    images = AtHand(Store(context.store))
    plan(found.config, images, architecture=target, look=exists, known=found.faults, order=found.files)


def any_at_hand(config: Config, index: Path) -> bool:
    """Whether the store may have an image of a container: else there is no need to load what looks at images."""
    from moby.config.checks import CONTAINERS
    from moby.oci.reference import Reference

    try:
        text = index.read_text()
    except OSError:
        return False
    entries = (entry for section in CONTAINERS for entry in getattr(config, section) or ())
    return any(name in text for entry in entries for name in _names(Reference.parse(entry.image)))


def _names(reference: Reference) -> tuple[str, ...]:
    return (str(reference.digest),) if reference.digest is not None else reference.names


def name(component: str, directory: Path | None) -> str:
    """An image name for a component that exists. Raises ``ConfigError`` when there is none."""
    from moby.components import catalog

    catalog.directory(component, directory)
    return "localhost/moby/component"


def report(
    faults: tuple[MobyError, ...], notices: tuple[str, ...] = (), warnings: tuple[str, ...] = ()
) -> dict[str, object]:
    """The result as plain data."""
    listed = [_fault(each) for each in faults]
    return {"valid": not faults, "faults": listed, "notices": list(notices), "warnings": list(warnings)}


def _fault(error: MobyError) -> dict[str, object]:
    from moby.config.places import place

    found = place(error.where)
    where: dict[str, object] = {"file": error.where, "line": None, "column": None, "path": None}
    if found:
        mark, path = found
        where = {"file": mark.file, "line": mark.line, "column": mark.column, "path": path or None}
    return {**where, "what": error.what, "fix": error.fix}
