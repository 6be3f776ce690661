"""Entries → Artifact: the table of formats, and writing the files of one build.

A format is a row in a file of this package and a line in ``FORMATS``. Modules of formats that are not made are not
imported: most of them need codecs that other formats do not.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from moby.artifact import Artifact
from moby.oci.store import Store
from moby.outputs import job
from moby.outputs.format import Format
from moby.outputs.job import Job, check_settings, default_name
from moby.outputs.settings import BootCode, RootKind, Settings, parse_size
from moby.plan import Plan

__all__ = [
    "FORMATS",
    "BootCode",
    "Format",
    "Job",
    "RootKind",
    "Settings",
    "check",
    "check_settings",
    "default_name",
    "parse_size",
    "write",
]


class _Table(Mapping[str, Format]):
    """Formats by name. ``rows`` has, for each, its module in this package and what it is called there.

    That may also be a tuple in which it is.
    """

    def __init__(self, rows: Mapping[str, tuple[str, str]]) -> None:
        self._rows = rows

    def __getitem__(self, name: str) -> Format:
        module, attribute = self._rows[name]
        found: Format | Sequence[Format] = getattr(importlib.import_module(f"moby.outputs.{module}"), attribute)
        return found if isinstance(found, Format) else next(each for each in found if each.name == name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


FORMATS: Mapping[str, Format] = _Table(
    {
        "kernel+initrd": ("kernel_initrd", "KERNEL_INITRD"),
        "tar": ("tar", "TAR"),
        "docker": ("archive", "DOCKER"),
        "tar-kernel-initrd": ("archive", "TAR_KERNEL_INITRD"),
        "netboot": ("archive", "NETBOOT"),
        "oci": ("oci", "OCI"),
        "uki": ("uki", "UKI"),
        "iso-efi-initrd": ("iso", "ISO_EFI_INITRD"),
        "iso": ("iso", "ISO"),
        "raw-bios": ("containers", "CONTAINERS"),
        "raw-efi": ("containers", "CONTAINERS"),
        "aws": ("containers", "CONTAINERS"),
        "qcow2-bios": ("containers", "CONTAINERS"),
        "qcow2-efi": ("containers", "CONTAINERS"),
        "vhd": ("containers", "CONTAINERS"),
        "dynamic-vhd": ("containers", "CONTAINERS"),
        "azure": ("containers", "CONTAINERS"),
        "vhdx": ("containers", "CONTAINERS"),
        "vmdk": ("containers", "CONTAINERS"),
        "gcp": ("containers", "CONTAINERS"),
        "ova": ("containers", "CONTAINERS"),
        "kernel+squashfs": ("filesystem", "KERNEL_SQUASHFS"),
        "kernel+erofs": ("filesystem", "KERNEL_EROFS"),
        "kernel+iso": ("filesystem", "KERNEL_ISO"),
        "iso-bios": ("filesystem", "ISO_BIOS"),
        "iso-efi": ("filesystem", "ISO_EFI"),
        "rpi3": ("rpi3", "RPI3"),
    }
)


def check(
    *,
    formats: Sequence[str],
    name: str = "",
    directory: Path = Path(),
    output: str | Path | None = None,
    architecture: str,
) -> Job:
    """What would be written, for refusing it before anything is read or built. Raises ``ConfigError``.

    ``name`` and ``directory`` are empty when they were not given; without ``output`` a name is needed.
    """
    return job.choose(
        FORMATS, formats=formats, name=name, directory=directory, output=output, architecture=architecture
    )


def write(
    plan: Plan,
    store: Store,
    *,
    formats: Sequence[str],
    name: str = "",
    directory: Path = Path(),
    output: str | Path | None = None,
    stdout: BinaryIO | None = None,
    settings: Settings | None = None,
) -> tuple[Artifact, ...]:
    """Make all formats of ``plan`` and describe them, in the order asked for.

    Files are written beside their places and renamed when all are done: a failed build leaves what was there. With
    ``output`` ``-`` the bytes go to ``stdout``. Raises what ``check`` and the root file system raise, and
    ``PlatformError`` when a file cannot be written.
    """
    from moby.outputs import writing

    wanted = check(formats=formats, name=name, directory=directory, output=output, architecture=plan.architecture)
    settings = settings or Settings()
    check_settings(wanted, settings)
    return writing.write(wanted, plan, store, stdout=stdout, settings=settings)
