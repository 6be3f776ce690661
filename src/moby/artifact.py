"""What a build produced: enough for a machine or a cloud to use it without knowing how it was made."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from pathlib import Path


class Architecture(enum.StrEnum):
    """Target architectures, in Go's spelling as image manifests use it."""

    AMD64 = "amd64"
    ARM64 = "arm64"
    RISCV64 = "riscv64"


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
