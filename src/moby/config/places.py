"""Where in which file a value stands, and messages that say so."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from moby.errors import ConfigError, MobyError

# The way to a value from the top: keys and, in lists, numbers from 0.
Path = tuple[str | int, ...]

# The sections whose items have a name worth showing, and the key that holds it.
NAMED = {
    **dict.fromkeys(("onboot", "onshutdown", "services", "volumes", "system", "daemon"), "name"),
    "files": "path",
}


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A position: ``line`` and ``column`` count from 1, the column in characters."""

    file: str
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


# The place of a message, as ``Places.where`` spells it; more may follow a comma.
_WHERE = re.compile(r"(.*?):(\d+):(\d+)(?: \((.*?)\))?(?:, .*)?", re.DOTALL)


def place(where: str) -> tuple[Mark, str] | None:
    """The position and the path in the place of a message; None when it has none."""
    found = _WHERE.fullmatch(where)
    return (Mark(found[1], int(found[2]), int(found[3])), found[4] or "") if found else None


def in_order(faults: Iterable[MobyError], files: Sequence[str]) -> list[MobyError]:
    """``faults`` and all that they carry by file, in the order of ``files``, and position, each once."""
    order = {file: number for number, file in enumerate(files)}

    def key(fault: MobyError) -> tuple[int, int, int]:
        found = place(fault.where)
        mark = found[0] if found else Mark(fault.where, 0, 0)
        return order.get(mark.file, len(order)), mark.line, mark.column

    single = {(each.where, each.what): each for fault in faults for each in fault.each}
    return sorted(single.values(), key=key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong at ``path``; ``at_key`` points at the key instead of its value.

    ``missing`` is the key that a mapping at ``path`` lacks, where that is what is wrong.
    """

    path: Path
    what: str
    fix: str = ""
    at_key: bool = False
    missing: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """The marks of all values and keys of a configuration, and its scalars as they were written.

    ``spelled`` has the path that the file itself uses, where it spells keys in another way than the models do.
    """

    file: str = ""
    values: Mapping[Path, Mark] = field(default_factory=dict)
    keys: Mapping[Path, Mark] = field(default_factory=dict)
    written: Mapping[Path, str] = field(default_factory=dict)
    spelled: Mapping[Path, Path] = field(default_factory=dict)

    def files(self) -> tuple[str, ...]:
        """The files that the values are in."""
        return tuple(dict.fromkeys(mark.file for mark in self.values.values()))

    def mark(self, path: Path, *, at_key: bool = False) -> Mark:
        """The position of ``path``, or of what holds it when it has none of its own."""
        if at_key and path in self.keys:
            return self.keys[path]
        while path not in self.values and path:
            path = path[:-1]
        return self.values.get(path, Mark(self.file, 1, 1))

    def where(self, path: Path, *, at_key: bool = False) -> str:
        """``file:line:column (services[2] 'web': binds[0])``; empty when nothing was read from a file."""
        shown = self.describe(path[:-1] if at_key else path)
        if not self.values and not self.file:
            return shown
        mark = self.mark(path, at_key=at_key)
        return f"{mark} ({shown})" if shown else str(mark)

    def describe(self, path: Path) -> str:
        """``path`` for people: ``services[2] 'web': binds[0]`` or ``kernel.cmdline``."""
        name = self._name(path)
        path = self._spelling(path)
        if name is None:
            return join(path)
        head = join(path[:2]) + (f" {name[:60]!r}" if name else "")
        return f"{head}: {join(path[2:])}" if len(path) > 2 else head

    def _name(self, path: Path) -> str | None:
        """The name of the item that ``path`` is in; None when it is in none."""
        if len(path) < 2 or not isinstance(path[1], int) or (label := NAMED.get(str(path[0]))) is None:
            return None
        return self.written.get((*path[:2], label), "")

    def _spelling(self, path: Path) -> Path:
        held = path
        while self.spelled and held and held not in self.spelled:
            held = held[:-1]
        return (*self.spelled[held], *path[len(held) :]) if held in self.spelled else path

    def error(self, fault: Fault) -> ConfigError:
        """``fault`` as the error to raise."""
        return ConfigError(fault.what, where=self.where(fault.path, at_key=fault.at_key), fix=fault.fix)

    def errors(self, faults: Iterable[Fault]) -> list[ConfigError]:
        """All ``faults``, in the order of their places."""
        ordered = sorted(faults, key=lambda each: self.mark(each.path, at_key=each.at_key))
        return [self.error(each) for each in ordered]

    def placed(self, error: ConfigError, path: Path) -> ConfigError:
        """``error`` with the place of ``path``, unless it has one already."""
        if error.where:
            return error
        made = ConfigError(error.what, where=self.where(path), fix=error.fix)
        made.others = error.others
        return made


def join(path: Path) -> str:
    """``a.b[0].c``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
