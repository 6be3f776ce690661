"""The QEMU programs a machine is started with, and the UEFI firmware beside them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import Architecture
from moby.errors import PlatformError
from moby.machines.commandline import PLATFORMS

_PACKAGES: Mapping[Architecture, str] = {
    Architecture.AMD64: "qemu-system-x86",
    Architecture.ARM64: "qemu-system-arm",
    Architecture.RISCV64: "qemu-system-misc",
}
_FIRMWARE_DIRECTORIES = (
    "/usr/share/OVMF",
    "/usr/share/AAVMF",
    "/usr/share/edk2/x64",
    "/usr/share/edk2/ovmf",
    "/usr/share/edk2-ovmf/x64",
    "/usr/share/edk2/aarch64",
    "/usr/share/edk2/riscv",
    "/usr/share/qemu",
    "/opt/homebrew/share/qemu",
    "/usr/local/share/qemu",
)
# The code and the empty variables that belong to it, as Debian, Arch, Fedora and QEMU itself name them.
_FIRMWARE: Mapping[Architecture, tuple[tuple[str, str], ...]] = {
    Architecture.AMD64: (
        ("OVMF_CODE_4M.fd", "OVMF_VARS_4M.fd"),
        ("OVMF_CODE.4m.fd", "OVMF_VARS.4m.fd"),
        ("OVMF_CODE.fd", "OVMF_VARS.fd"),
        ("edk2-x86_64-code.fd", "edk2-i386-vars.fd"),
    ),
    Architecture.ARM64: (
        ("AAVMF_CODE.fd", "AAVMF_VARS.fd"),
        ("QEMU_EFI-pflash.raw", "vars-template-pflash.raw"),
        ("edk2-aarch64-code.fd", "edk2-arm-vars.fd"),
    ),
    Architecture.RISCV64: (("RISCV_VIRT_CODE.fd", "RISCV_VIRT_VARS.fd"),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolset:
    """How to start QEMU: ``system`` and ``image`` are the first words of ``qemu-system-*`` and ``qemu-img``.

    ``image`` is None where there is no qemu-img. ``firmware``, asked only when a machine needs it, gives the UEFI code
    and the template of its variables; None: look in this host's usual places. ``tpm`` gives the first words of swtpm;
    None: look on PATH. ``environment`` replaces the environment
    when it is not None.
    """

    system: tuple[str, ...]
    image: tuple[str, ...] | None = None
    firmware: Callable[[], tuple[Path, Path]] | None = None
    tpm: Callable[[], tuple[str, ...]] | None = None
    environment: Mapping[str, str] | None = None


Finder = Callable[[Architecture], Toolset]


def host_qemu(architecture: Architecture) -> Toolset:
    """The host's own QEMU, from PATH. Raises ``PlatformError`` that says what to install."""
    program = PLATFORMS[architecture].program
    system, image = shutil.which(program), shutil.which("qemu-img")
    if system is None:
        raise PlatformError(
            f"{program} is not installed",
            fix=f"install QEMU (Debian and Ubuntu: {_PACKAGES[architecture]}; Homebrew: qemu) or name another back end",
        )
    return Toolset(system=(system,), image=(image,) if image else None)


def find_tpm(toolset: Toolset) -> tuple[str, ...]:
    """The first words of swtpm. Raises ``PlatformError`` when this host has none."""
    if toolset.tpm is not None:
        return toolset.tpm()
    found = shutil.which("swtpm")
    if found is None:
        raise PlatformError("swtpm is not installed", where="--tpm", fix="install swtpm, or leave out --tpm")
    return (found,)


def find_firmware(architecture: Architecture, toolset: Toolset) -> tuple[Path, Path]:
    """UEFI code and the template of its variables. Raises ``PlatformError`` when this host has none."""
    if toolset.firmware is not None:
        return toolset.firmware()
    for directory in map(Path, _FIRMWARE_DIRECTORIES):
        for code, variables in _FIRMWARE[architecture]:
            if (directory / code).is_file() and (directory / variables).is_file():
                return directory / code, directory / variables
    raise PlatformError(
        f"no UEFI firmware for {architecture} on this host",
        fix="install ovmf (amd64) or qemu-efi-aarch64 (arm64), or give --fw FILE",
    )
