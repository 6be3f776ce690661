"""What a machine is started with: QEMU's programs, UEFI firmware, an emulated TPM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import Architecture
from moby.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """How to start QEMU: ``system`` and ``image`` are the first words of ``qemu-system-*`` and ``qemu-img``.

    ``image`` is None where there is no qemu-img. Asked only when a machine needs them, and with ``PlatformError`` when
    they are not to be had: ``firmware`` gives the UEFI code and the template of its variables, of one that has Secure
    Boot when called with True; ``tpm`` the first words of swtpm.
    """

    system: tuple[str, ...]
    firmware: Callable[[bool], tuple[Path, Path]]
    tpm: Callable[[], tuple[str, ...]]
    image: tuple[str, ...] | None = None


# Gives the tools for guests of an architecture. Raises ``PlatformError`` when there are none for this host.
Finder = Callable[[Architecture], Toolset]


def finder(context: Context) -> Finder:
    """Tools from the host where it has them, else unpacked into the cache from Debian packages."""
    from moby.components.packages import Packages
    from moby.components.tools import Tools

    def find(architecture: Architecture) -> Toolset:
        tools = Tools(context, Packages(context))
        qemu = tools.qemu(architecture)
        image = qemu.programs.get("qemu-img")

        def firmware(secure: bool) -> tuple[Path, Path]:
            found = tools.firmware(architecture, secure=secure)
            return found.code, found.variables

        return Toolset(
            system=(str(qemu.system),),
            firmware=firmware,
            tpm=lambda: (str(tools.tpm()),),
            image=(str(image),) if image else None,
        )

    return find
