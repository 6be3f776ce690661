"""Entries → Artifact: the table of formats, and writing the files of one build.

A format is a file in this package and a line in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

from moby.artifact import Artifact
from moby.oci.store import Store
from moby.outputs import job, writing
from moby.outputs.archive import DOCKER, NETBOOT, TAR_KERNEL_INITRD
from moby.outputs.containers import CONTAINERS
from moby.outputs.filesystem import ISO_BIOS, ISO_EFI, KERNEL_EROFS, KERNEL_ISO, KERNEL_SQUASHFS
from moby.outputs.format import Format
from moby.outputs.iso import ISO, ISO_EFI_INITRD
from moby.outputs.job import Job, default_name
from moby.outputs.kernel_initrd import KERNEL_INITRD
from moby.outputs.oci import OCI
from moby.outputs.rpi3 import RPI3
from moby.outputs.settings import BootCode, RootKind, Settings, parse_size
from moby.outputs.tar import TAR
from moby.outputs.uki import UKI
from moby.plan import Plan

__all__ = [
    "FORMATS",
    "BootCode",
    "Format",
    "Job",
    "RootKind",
    "Settings",
    "check",
    "default_name",
    "parse_size",
    "write",
]

FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        format.name: format
        for format in (
            KERNEL_INITRD,
            TAR,
            DOCKER,
            TAR_KERNEL_INITRD,
            NETBOOT,
            OCI,
            UKI,
            ISO_EFI_INITRD,
            ISO,
            *CONTAINERS,
            KERNEL_SQUASHFS,
            KERNEL_EROFS,
            KERNEL_ISO,
            ISO_BIOS,
            ISO_EFI,
            RPI3,
        )
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
    wanted = check(formats=formats, name=name, directory=directory, output=output, architecture=plan.architecture)
    return writing.write(wanted, plan, store, stdout=stdout, settings=settings or Settings())
