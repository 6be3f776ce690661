"""``kernel+initrd``: what a virtual machine monitor or a boot loader takes directly."""

from __future__ import annotations

from pathlib import Path

from moby.artifact import Firmware
from moby.outputs.format import File, Format, Targets
from moby.outputs.source import Source
from moby.rootfs.pieces import Piece


def _write(source: Source, targets: Targets) -> None:
    boot = source.boot
    if boot.kernel is not None:
        targets.take("kernel", boot.kernel)
        targets.path("cmdline").write_text(boot.booted_cmdline)
    write_initrd(source, targets)


def write_initrd(source: Source, targets: Targets) -> None:
    """The file ``initrd``, with the microcode before it."""
    targets.take("initrd", whole_initrd(source))


def whole_initrd(source: Source) -> Path:
    """The initrd, the microcode first and uncompressed, where the kernel looks before it unpacks anything."""
    boot = source.boot
    if boot.ucode is None:
        return boot.initrd
    pieces = (Piece(boot.ucode), Piece(boot.initrd))

    def make(path: Path) -> None:
        from moby.outputs.segments import join

        with path.open("wb") as out:
            join(pieces, out)

    return source.part("initrd-with-microcode", make)


KERNEL_INITRD = Format(
    name="kernel+initrd",
    description="kernel, initrd and command line as three files (the default)",
    files=(
        File(role="kernel", suffix="-kernel"),
        File(role="initrd", suffix="-initrd.img"),
        File(role="cmdline", suffix="-cmdline"),
    ),
    write=_write,
    firmware=Firmware.DIRECT,
)
