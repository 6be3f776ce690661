"""``moby completion``: scripts made from the parsers themselves, so they never lag behind."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from moby.cli.main import COMMANDS, add_global_options, load
from moby.cli.parser import Parser
from moby.context import Context

EXAMPLES = """\
examples:
  eval "$(moby completion bash)"
  moby completion zsh > ~/.zfunc/_moby

Commands and options are completed, and what they take: YAML files, formats, names of machines
(for moby logs also of those that ended)."""
# Only names of letters that no shell expands: bash reads once more what it is to offer, and a name may be "$(…)".
_NAMES = 'env LC_ALL=C sed -nE "s,^([A-Za-z0-9._][A-Za-z0-9._-]*) +([0-9]+ +[0-9]+s|- +ended) .*,\\1,p"'
# The commands that take machines: the function that completes them, and what lists them.
_COMMANDS_OF_MACHINES = {"logs": ("_moby_machines_kept", "moby -q ps --all"), "stop": ("_moby_machines", "moby -q ps")}
# What shtab takes as the values of an argument: for each shell an action, and the functions that it needs.
Values = dict[str, str | dict[str, str]]


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``moby completion``."""
    parser.description = "Print a completion script for your shell."
    parser.epilog = EXAMPLES
    parser.add_argument("shell", choices=("bash", "zsh", "tcsh"))


def execute(arguments: argparse.Namespace, context: Context) -> int:
    """Print the script."""
    import shtab  # only needed here

    whole = Parser(prog="moby")
    add_global_options(whole)
    commands = whole.add_subparsers()
    for name, text in COMMANDS.items():
        parser = commands.add_parser(name, help=text)
        load(name).configure(parser)
        for action, values in completed(name, parser):
            action.complete = values  # type: ignore[attr-defined]  # shtab's own way
    script = shtab.complete(whole, shell=arguments.shell)
    # Where the parsers have nothing to offer, names of files: else the script would take them away.
    print(script.replace("complete -o bashdefault ", "complete -o bashdefault -o default "))
    return 0


def completed(command: str, parser: argparse.ArgumentParser) -> Iterator[tuple[argparse.Action, Values]]:
    """The arguments of a command whose values are known, with those."""
    import shtab

    from moby.outputs import FORMATS

    for action in parser._actions:
        if action.dest == "format":
            yield action, formats(sorted(FORMATS))
        elif action.metavar == "NAME" and not action.option_strings and command in _COMMANDS_OF_MACHINES:
            yield action, machines(*_COMMANDS_OF_MACHINES[command])
        elif str(action.metavar).startswith("FILE.yml"):
            yield action, shtab.glob("*.yml", "*.yaml")


def formats(names: list[str]) -> Values:
    """Formats, one or several with commas."""
    listed = " ".join(names)
    bash = f"""\
_moby_formats() {{
  local before=
  case $1 in *,*) before=${{1%,*}}, ;; esac
  compgen -P "$before" -W "{listed}" -- "${{1##*,}}"
}}"""
    return {
        "bash": "_moby_formats",
        "zsh": f"_values -s , format {listed}",
        "tcsh": f"({listed})",
        "preamble": {"bash": bash},
    }


def machines(function: str, listing: str) -> Values:
    """Machines that the command ``listing`` lists when the completion is asked for."""
    names = f"{listing} 2>/dev/null | {_NAMES}"
    names_tcsh = f"{listing} |& {_NAMES}"  # what is no line of a machine is dropped, and a slash ends the list
    bash = f"""\
{function}() {{
  compgen -W "$({names})" -- "$1"
}}"""
    zsh = f"""\
{function}() {{
  local -a names
  names=(${{(f)"$({names})"}})
  compadd "$@" -a names
}}"""
    return {"bash": function, "zsh": function, "tcsh": f"`{names_tcsh}`", "preamble": {"bash": bash, "zsh": zsh}}
