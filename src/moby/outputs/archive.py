"""Archives: the boot files in a tar, the root as a Docker build context, and what a network boot needs."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from moby.artifact import Firmware
from moby.formats import tar
from moby.formats.entry import Entry, file
from moby.outputs.format import File, Format, Targets
from moby.outputs.hostfiles import host_files
from moby.outputs.kernel_initrd import write_initrd
from moby.outputs.source import Source
from moby.rootfs.constants import FIXED_MTIME_S

_DOCKERFILE = b'\nFROM scratch\n\nCOPY . ./\n\nENTRYPOINT ["/bin/rc.init"]\n'
_SBOM_ORIGIN = "sbom"


def _write_docker(source: Source, targets: Targets) -> None:
    with targets.open("tar") as out:
        tar.write(_with_dockerfile(source.entries()), out)


def _with_dockerfile(entries: Iterator[Entry]) -> Iterator[Entry]:
    """The root and a Dockerfile that makes an image of it, before the SBOM, which is last."""
    dockerfile = file("Dockerfile", _DOCKERFILE, mtime_s=FIXED_MTIME_S, origin="docker")
    written = False
    for entry in entries:
        if entry.origin == _SBOM_ORIGIN and not written:
            yield dockerfile
            written = True
        yield entry
    if not written:
        yield dockerfile


def _write_boot_tar(source: Source, targets: Targets) -> None:
    boot = source.boot
    cmdline = boot.booted_cmdline.encode() if boot.kernel else None
    parts = {"kernel": boot.kernel, "initrd.img": boot.initrd, "cmdline": cmdline, "ucode.cpio": boot.ucode}
    with targets.open("tar") as out:
        tar.write(host_files({name: part for name, part in parts.items() if part is not None}), out)


def _write_netboot(source: Source, targets: Targets) -> None:
    boot = source.boot
    if boot.kernel is not None:
        targets.take("kernel", boot.kernel)
    write_initrd(source, targets)
    targets.path("ipxe").write_text(_script(targets.name, boot.booted_cmdline))


def _script(name: str, cmdline: str) -> str:
    """Boots the files beside the script, under BIOS and EFI; the latter's kernel has to be told the initrd's name.

    Files are named as in a URL: a word ends at a space, and ``${`` begins a variable.
    """
    base = quote(name)
    return (
        f"#!ipxe\nkernel {base}-kernel initrd=initrd.img {cmdline}\ninitrd --name initrd.img {base}-initrd.img\nboot\n"
    )


DOCKER = Format(
    name="docker",
    description="the root file system as a Docker build context",
    files=(File(role="tar", suffix=".docker"),),
    write=_write_docker,
    streamable=True,
)

TAR_KERNEL_INITRD = Format(
    name="tar-kernel-initrd",
    description="kernel, initrd, command line and microcode in one tar",
    files=(File(role="tar", suffix="-initrd.tar"),),
    write=_write_boot_tar,
)

NETBOOT = Format(
    name="netboot",
    description="kernel, initrd and an iPXE script that boots them",
    files=(
        File(role="kernel", suffix="-kernel"),
        File(role="initrd", suffix="-initrd.img"),
        File(role="ipxe", suffix="-ipxe"),
    ),
    write=_write_netboot,
    firmware=Firmware.DIRECT,
)
