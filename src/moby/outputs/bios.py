"""Starting under BIOS: SYSLINUX on a FAT disk, ISOLINUX on an ISO image, with one configuration for both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moby.artifact import Architecture
from moby.errors import ConfigError
from moby.formats import syslinux
from moby.formats.entry import Entry
from moby.outputs.hostfiles import host_files
from moby.outputs.kernel_initrd import whole_initrd
from moby.outputs.source import Source

ARCHITECTURES = frozenset({Architecture.AMD64})
ISO_BOOT_RECORD = "usr/lib/ISOLINUX/isohdpfx.bin"
_ISOLINUX = "usr/lib/ISOLINUX/isolinux.bin"
_SYSLINUX = "usr/bin/syslinux"
_MASTER_BOOT_RECORD = "usr/lib/syslinux/mbr/mbr.bin"
_SECOND_STAGE = "usr/lib/syslinux/modules/bios/ldlinux.c32"


def configuration(cmdline: str, *, kernel: str, initrd: str = "") -> bytes:
    """``syslinux.cfg``: boots at once, and says what it does on the first serial port too."""
    lines = ["SERIAL 0 115200", "DEFAULT linux", "LABEL linux", f"    KERNEL {kernel}"]
    if initrd:
        lines.append(f"    INITRD {initrd}")
    return "\n".join([*lines, f"    APPEND {cmdline}", ""]).encode()


def boot_files(source: Source) -> dict[str, Path]:
    """``kernel`` and ``initrd.img`` as they are put on a disk. Raises ``ConfigError`` without a kernel."""
    if source.boot.kernel is None:
        raise ConfigError("there is no kernel to boot", fix="name one under kernel:")
    return {"kernel": source.boot.kernel, "initrd.img": whole_initrd(source)}


def isolinux(source: Source, *, kernel: str, initrd: str = "", cmdline: str | None = None) -> Iterator[Entry]:
    """ISOLINUX with its configuration, as entries of an ISO image."""
    cmdline = source.boot.booted_cmdline if cmdline is None else cmdline
    parts = {
        "isolinux/isolinux.bin": source.boot_code.read(_ISOLINUX),
        "isolinux/ldlinux.c32": source.boot_code.read(_SECOND_STAGE),
        "isolinux/isolinux.cfg": configuration(cmdline, kernel=kernel, initrd=initrd),
    }
    yield from host_files(parts)


def loader(source: Source) -> syslinux.Loader:
    """SYSLINUX for a FAT file system."""
    return syslinux.Loader.extract(source.boot_code.read(_SYSLINUX))


def master_boot_record(source: Source) -> bytes:
    """The code that starts the active partition."""
    return source.boot_code.read(_MASTER_BOOT_RECORD)
