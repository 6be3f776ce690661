"""The parser of command lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

TYPE_CHECKING = False  # see main
if TYPE_CHECKING:
    from typing import NoReturn


class Parser(argparse.ArgumentParser):
    """argparse with exact options only, and a suggestion for a misspelt one.

    ``details`` gives the end of the help, where that takes more than to know it.
    """

    def __init__(self, **options: object) -> None:
        defaults = {"allow_abbrev": False, "formatter_class": argparse.RawDescriptionHelpFormatter}
        super().__init__(**{**defaults, **options})  # type: ignore[arg-type]  # argparse's own option names
        self.details: Callable[[], str] = str

    def format_help(self) -> str:
        """The help, its details last."""
        return super().format_help() + self.details()

    def error(self, message: str) -> NoReturn:
        """Print the usage, the fault and the nearest known option; exit with status 2."""
        import difflib  # as all that only errors need

        known = [option for action in self._actions for option in action.option_strings]
        close = [
            near
            for word in message.split()
            if word.startswith("-")
            for near in difflib.get_close_matches(word.partition("=")[0], known, n=1)
        ]
        hint = f" (did you mean {close[0]}?)" if close else ""
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}{hint}\n")
