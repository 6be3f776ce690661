"""``kernel+initrd``: what a virtual machine monitor or a boot loader takes directly."""

from __future__ import annotations

from moby.artifact import Firmware
from moby.outputs.format import File, Format, Targets
from moby.outputs.source import Boot, Source
from moby.rootfs.pieces import Piece


def _write(source: Source, targets: Targets) -> None:
    boot = source.boot
    if boot.kernel is not None:
        targets.take("kernel", boot.kernel)
        targets.path("cmdline").write_text(boot.booted_cmdline)
    write_initrd(source, targets)


def write_initrd(source: Source, targets: Targets) -> None:
    """The file ``initrd``, with the microcode before it."""
    if source.boot.ucode is None:
        targets.take("initrd", source.boot.initrd)
    else:
        _join(source.boot, targets)


def _join(boot: Boot, targets: Targets) -> None:
    """The microcode first and uncompressed, where the kernel looks for it before it unpacks anything."""
    from moby.outputs.segments import join

    assert boot.ucode is not None
    with targets.open("initrd") as out:
        join((Piece(boot.ucode), Piece(boot.initrd)), out)


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
