"""``moby init``: a first YAML file, from the shipped examples."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path

from moby.components import catalog
from moby.context import Context
from moby.errors import ConfigError


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby init``."""
    parser.description = "Write a YAML file to start from: one of the shipped examples, under its name or another."
    parser.epilog = "examples:\n  moby init web          writes web.yml\n  moby init web shop.yml\n  moby init --list"
    parser.add_argument("example", nargs="?", help="name of an example")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE.yml", help="where to (default: EXAMPLE.yml here)")
    parser.add_argument("--list", action="store_true", help="print the examples")


def examples() -> dict[str, Path]:
    """Name → file of every shipped example, sorted."""
    return {path.stem: path for path in sorted((catalog.shipped_root() / "examples").glob("*.yml"))}


def summary(path: Path) -> str:
    """The comment at the head of an example, on one line."""
    lines = []
    for line in path.read_text().splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Write the file and print its name, or print the list. Raises ``ConfigError``; a file that is there stays."""
    known = examples()
    if arguments.list:
        for name, path in known.items():
            print(f"{name:<16} {summary(path)}")
        return 0
    if arguments.example is None:
        raise ConfigError("which example?", fix="moby init web, or moby init --list")
    if arguments.example not in known:
        near = difflib.get_close_matches(arguments.example, known, n=1)
        fix = f"did you mean {near[0]}?" if near else "moby init --list prints them"
        raise ConfigError(f"there is no example {arguments.example!r}", fix=fix)
    target = arguments.file or Path(f"{arguments.example}.yml")
    try:
        with target.open("x") as out:
            out.write(known[arguments.example].read_text())
    except FileExistsError:
        raise ConfigError("it is there already", where=str(target), fix="give another file name") from None
    except OSError as error:
        raise ConfigError(f"cannot write it: {error.strerror}", where=str(target)) from error
    print(target)
    return 0
