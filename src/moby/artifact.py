"""What a build produced: enough for a machine or a cloud to use it without knowing how it was made."""

from __future__ import annotations

import enum
import platform
from dataclasses import dataclass
from pathlib import Path


class Architecture(enum.StrEnum):
    """Target architectures, in Go's spelling as image manifests use it."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    RISCV64 = "riscv64"

    @classmethod
    def named(cls, name: str) -> Architecture | None:
        """The one of that name, be it in the kernel's spelling; None when there is none."""
        try:
            return KERNEL_SPELLINGS.get(name) or cls(name)
        except ValueError:
            return None


# Names the kernel and compilers use where they differ from Go's.
KERNEL_SPELLINGS = {"x86_64": Architecture.AMD64, "x86-64": Architecture.AMD64, "aarch64": Architecture.ARM64}


def host_architecture() -> Architecture | None:
    """This host's architecture; None when nothing can be built for it."""
    return Architecture.named(platform.machine().lower())


class Firmware(enum.StrEnum):
    """What the artifact expects to be started by."""

    DIRECT = "direct"
    BIOS = "bios"
    EFI = "efi"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """The files of one output format.

    ``files`` maps a role (``kernel``, ``initrd``, ``cmdline``, ``disk``, ``iso``, ``tar``, …) to its path;
    ``size_bytes`` is what they hold together; ``root_bytes`` is the unpacked root a RAM disk will need (0: on disk).
    """

    name: str
    format: str
    architecture: Architecture
    firmware: Firmware
    files: tuple[tuple[str, Path], ...]
    size_bytes: int
    root_bytes: int = 0

    def file(self, role: str) -> Path:
        """The path of ``role``; ``KeyError`` when the format has none."""
        return dict(self.files)[role]
