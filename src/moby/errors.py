"""Every error a user can cause, and nothing else.

    MobyError            something the user can mend: what, where, how to fix
    ├── ConfigError      the YAML, a label, a recipe or a flag says something we refuse
    ├── RegistryError    a registry or mirror did not give what was asked
    │   └── UnreachableError    or could not be talked to at all
    ├── IntegrityError   bytes do not match their digest, or an archive is hostile
    ├── CommandError     a command we started failed, or is missing
    └── PlatformError    this host or machine cannot do it (no QEMU, no disk space, …)

A subclass exists only where a caller acts differently. A bug raises something else and shows its traceback;
a ``MobyError`` never does: ``cli/main.py`` prints it and exits with status 1.
"""

from __future__ import annotations

from collections.abc import Sequence


class MobyError(Exception):
    """A mistake the user can mend: ``what`` went wrong, ``where``, and how to ``fix`` it.

    ``others`` are further faults found in the same pass, so that all are reported at once.
    """

    others: tuple[MobyError, ...] = ()

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.fix = fix

    @property
    def each(self) -> tuple[MobyError, ...]:
        """This fault and the others."""
        return (self, *self.others)

    def __str__(self) -> str:
        """One line: ``where: what (fix)``."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.fix})" if self.fix else text


class ConfigError(MobyError):
    """The YAML, an image label, a recipe or a flag is not acceptable."""

    @classmethod
    def gather(cls, faults: Sequence[MobyError]) -> ConfigError:
        """One error that carries all of ``faults`` (at least one), in their order."""
        first, *rest = (one for fault in faults for one in fault.each)
        made = cls(first.what, where=first.where, fix=first.fix)
        made.others = tuple(rest)
        return made


class RegistryError(MobyError):
    """A registry or a mirror did not answer, or refused."""


class UnreachableError(RegistryError):
    """A registry could not be talked to, so asking it for something else would end the same way."""


class IntegrityError(MobyError):
    """Bytes do not match their digest or size, or an archive breaks the rules."""


class CommandError(MobyError):
    """A command could not be started or failed. ``output`` is what it had written to stdout."""

    def __init__(self, what: str, *, where: str = "", fix: str = "", status: int = 1, output: bytes = b"") -> None:
        super().__init__(what, where=where, fix=fix)
        self.status = status
        self.output = output


class PlatformError(MobyError):
    """This host or the chosen machine cannot do what was asked."""


def together(faults: Sequence[MobyError]) -> MobyError:
    """One error that carries all of ``faults`` (at least one).

    It is of their kind when all are about images that a registry did not give, or not whole; else a ``ConfigError``.
    """
    first, *rest = (one for fault in faults for one in fault.each)
    kinds = {type(each) for each in (first, *rest)}
    kind = kinds.pop() if kinds <= {RegistryError} or kinds <= {IntegrityError} else ConfigError
    made = kind(first.what, where=first.where, fix=first.fix)
    made.others = tuple(rest)
    return made
