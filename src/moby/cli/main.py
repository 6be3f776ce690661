"""The ``moby`` command: finds the sub-command, runs it, and turns errors into messages and exit statuses.

Only the chosen command's module is imported, so that ``moby --help`` stays instant. Exit status: 0 done, 1 user error,
2 usage, 130 interrupted; ``moby run`` adds the machine's own (see ``cli/run.py``).
"""

from __future__ import annotations

import argparse
import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence

from moby import __version__
from moby.cli.parser import Parser
from moby.errors import ConfigError, MobyError

# Type checkers know this name; `typing` and `pathlib` would be half of the time that help takes.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from pathlib import Path
    from typing import Protocol

    from moby import log
    from moby.context import Context

    class Command(Protocol):
        """What each module of ``moby.cli`` offers."""

        def configure(self, parser: Parser) -> None:
            """Add the command's arguments, description and examples."""
            ...

        def execute(self, arguments: argparse.Namespace, context: Context) -> int:
            """Do it and return the exit status; results go to stdout."""
            ...


# How many new objects have Python look for cycles among them. At its own 700 this takes a twentieth of the time of a
# small build, most of it in vain, while code is loaded that stays.
_NEW_OBJECTS = 20_000

COMMANDS: Mapping[str, str] = {
    "init": "write a first YAML file, from an example",
    "build": "build a bootable image from a YAML file",
    "run": "build and boot a YAML file, or boot an image",
    "validate": "check YAML files without building",
    "explain": "say where a path or a setting of an image comes from",
    "migrate": "print a file of March 2017 in the language of today",
    "verify": "build again and compare with an image",
    "inspect": "show what an image is made of",
    "diff": "show what differs between two images",
    "schema": "print the JSON Schema of the YAML language",
    "pkg": "build components from Debian packages, no Docker needed",
    "lock": "pin the images of YAML files by digest",
    "cache": "list, pull, push, move and remove the images of the store",
    "ps": "list running machines",
    "stop": "stop a machine",
    "logs": "print a machine's console",
    "completion": "print a shell completion script",
    "keys": "make the keys of Secure Boot",
    "measure": "print what a TPM will say of an image",
    "version": "print the version",
}


def load(name: str) -> Command:
    """The module of a command in ``COMMANDS``."""
    return importlib.import_module(f"moby.cli.{name}")


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def add_global_options(parser: argparse.ArgumentParser) -> None:
    """Options every command takes, before or after its name."""
    group = parser.add_argument_group("global options")
    suppress = argparse.SUPPRESS
    group.add_argument("-q", "--quiet", action="store_true", default=suppress, help="errors only")
    group.add_argument(
        "-v", "--verbose", type=int, choices=range(4), default=suppress, metavar="N", help="0 errors … 3 everything"
    )
    group.add_argument("--progress", choices=("auto", "plain", "json"), default=suppress, help="how progress is shown")
    group.add_argument("--cache", type=_path, default=suppress, metavar="DIR", help="image store (MOBY_CACHE)")
    group.add_argument(
        "--mirror", action="append", default=suppress, metavar="[REG=]URL", help="registry mirror (MOBY_MIRROR)"
    )
    group.add_argument(
        "--debian-mirror", default=suppress, metavar="URL", help="Debian archive for components (MOBY_DEBIAN_MIRROR)"
    )
    group.add_argument(
        "--cert-file", action="append", type=_path, default=suppress, metavar="PEM", help="extra CA certificates"
    )
    group.add_argument(
        "--client-cert",
        action="append",
        default=suppress,
        metavar="REG=CERT[,KEY]",
        help="what to show a registry that asks who we are",
    )
    group.add_argument(
        "--plain-http",
        action="append",
        default=suppress,
        metavar="REG",
        help="registry without TLS (MOBY_PLAIN_HTTP)",
    )


def top_parser() -> Parser:
    """The parser of ``moby`` itself, without the commands' own arguments."""
    width = max(map(len, COMMANDS))
    listed = "\n".join(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items())
    parser = Parser(
        prog="moby",
        usage="moby [global options] COMMAND …",
        description="Turn a short YAML file and a few OCI images into a minimal, immutable, bootable Linux machine.",
        epilog=f"commands:\n{listed}\n\n`moby COMMAND --help` shows a command's options and examples.",
    )
    parser.add_argument("--version", action="version", version=f"moby {__version__}")
    add_global_options(parser)
    return parser


def command_parser(name: str) -> Parser:
    """The parser of one command with the global options."""
    parser = Parser(prog=f"moby {name}")
    load(name).configure(parser)
    add_global_options(parser)
    return parser


def split(argv: Sequence[str]) -> tuple[list[str], str | None, list[str]]:
    """``argv`` as (options before the command, command, the rest); global options with a value are skipped over."""
    takes_value = {"-v", "--verbose", "--progress", "--cache", "--mirror", "--debian-mirror", "--cert-file"}
    takes_value |= {"--client-cert", "--plain-http"}
    index = 0
    while index < len(argv) and argv[index].startswith("-"):
        index += 2 if argv[index] in takes_value else 1
    if index >= len(argv):
        return list(argv), None, []
    return list(argv[:index]), argv[index], list(argv[index + 1 :])


def make_context(arguments: argparse.Namespace) -> Context:
    """The surroundings the global options and the environment describe."""
    from moby.context import Context

    return Context.from_environment(
        store=getattr(arguments, "cache", None),
        certificates=getattr(arguments, "cert_file", ()),
        mirrors=getattr(arguments, "mirror", ()),
        debian_mirror=getattr(arguments, "debian_mirror", None),
        plain_http=getattr(arguments, "plain_http", ()),
        client_certificates=getattr(arguments, "client_cert", ()),
    )


def reporter(arguments: argparse.Namespace) -> log.Reporter:
    """Where messages go as ``-q``, ``-v`` and ``--progress`` say."""
    from moby import log

    quiet, verbose = getattr(arguments, "quiet", False), getattr(arguments, "verbose", None)
    level = log.Level.ERROR if quiet else log.Level(log.Level.INFO if verbose is None else verbose)
    if getattr(arguments, "progress", "auto") == "json":
        return log.JsonLines()
    return log.Console(level)


def check_level(arguments: argparse.Namespace) -> None:
    """Raises ``ConfigError`` when less and more is to be said."""
    if getattr(arguments, "quiet", False) and getattr(arguments, "verbose", None):
        raise ConfigError("-q and -v exclude each other", fix="give one of them")


def report(error: MobyError) -> None:
    """Print an error with all the faults it carries, each once, on stderr."""
    for fault in error.each:
        place = f"{fault.where}: " if fault.where else ""
        print(f"moby: error: {place}{fault.what.rstrip()}", file=sys.stderr)
        if fault.fix:
            print(f"  fix: {fault.fix}", file=sys.stderr)


def parse(argv: Sequence[str]) -> tuple[str, argparse.Namespace]:
    """The command's name and its arguments; exits on ``--help``, ``--version`` and usage errors."""
    before, name, after = split(argv)
    if name is None:
        parser = top_parser()
        parser.parse_args(before)
        parser.print_help()
        raise SystemExit(2)
    if name == "help":
        (command_parser(after[0]) if after and after[0] in COMMANDS else top_parser()).print_help()
        raise SystemExit(0)
    if name not in COMMANDS:
        import difflib

        close = difflib.get_close_matches(name, COMMANDS, n=1)
        top_parser().error(f"unknown command {name!r}" + (f", did you mean {close[0]!r}?" if close else ""))
    return name, command_parser(name).parse_args([*before, *after])


def is_former(argv: Sequence[str]) -> bool:
    """Whether ``argv`` is a command line of March 2017: ``[-name NAME] FILE``."""
    named = bool(argv) and argv[0].startswith("-") and argv[0].lstrip("-").partition("=")[0] == "name"
    rest = argv[1 if "=" in argv[0] else 2 :] if named else argv
    if not rest or rest[0] in COMMANDS or rest[0].startswith("-"):
        return False
    return named or rest[0].endswith((".yml", ".yaml")) or os.path.isfile(rest[0])  # noqa: PTH113


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``moby`` and return its exit status."""
    gc.set_threshold(_NEW_OBJECTS)
    argv = sys.argv[1:] if argv is None else argv
    former = is_former(argv)
    name, arguments = parse(["build", *argv] if former else argv)
    try:
        check_level(arguments)
        if name == "version":
            from moby.cli import version

            return version.execute(arguments)  # what other commands need takes longer to load than this takes
        from moby import log

        with log.reporting(reporter(arguments)):
            if former:
                import shlex

                log.info(f"notice: this is called moby build now: {shlex.join(['moby', 'build', *argv])}")
            status = load(name).execute(arguments, make_context(arguments))
        sys.stdout.flush()  # a reader that went away is noticed here, not by the interpreter
        return status
    except MobyError as error:
        report(error)
        return 1
    except KeyboardInterrupt:
        print("moby: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of our stdout went away: the usual end of `moby … | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
