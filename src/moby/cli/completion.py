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
    script = shtab.complete(whole, shell=arguments.shell)
    # Where the parsers have nothing to offer, names of files: else the script would take them away.
    print(script.replace("complete -o bashdefault ", "complete -o bashdefault -o default "))
    return 0
