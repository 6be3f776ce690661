"""``moby completion``: scripts made from the parsers themselves, so they never lag behind."""

from __future__ import annotations

import argparse

from moby.cli.main import COMMANDS, add_global_options, load
from moby.cli.parser import Parser
from moby.context import Context


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby completion``."""
    parser.description = "Print a completion script for your shell."
    parser.epilog = 'examples:\n  eval "$(moby completion bash)"\n  moby completion zsh > ~/.zfunc/_moby'
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print the script."""
    import shtab  # only needed here

    whole = Parser(prog="moby")
    add_global_options(whole)
    commands = whole.add_subparsers()
    for name, text in COMMANDS.items():
        load(name).configure(commands.add_parser(name, help=text))
    print(shtab.complete(whole, shell=arguments.shell))
    return 0
