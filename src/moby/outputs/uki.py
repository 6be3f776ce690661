"""``uki``: kernel, initrd and command line as one EFI program; disks and ISO images carry the same one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from moby.artifact import Architecture, Firmware
from moby.errors import ConfigError
from moby.formats import authenticode, uki
from moby.formats.content import Content
from moby.outputs.format import File, Format, Targets
from moby.outputs.source import Source

_STUBS = {Architecture.AMD64: "linuxx64.efi.stub", Architecture.ARM64: "linuxaa64.efi.stub"}
_STUB_DIRECTORY = "usr/lib/systemd/boot/efi"
# UEFI specification 2.10, 3.5.1.1: what firmware starts from a disk nobody told it about.
DEFAULT_PROGRAM: Mapping[Architecture, str] = {
    Architecture.AMD64: "EFI/BOOT/BOOTX64.EFI",
    Architecture.ARM64: "EFI/BOOT/BOOTAA64.EFI",
}
EFI_ARCHITECTURES = frozenset(DEFAULT_PROGRAM)
_OS_RELEASE = b'ID=moby\nNAME="Moby"\nPRETTY_NAME="Moby"\n'


def program(source: Source) -> Path:
    """The unified kernel image of a build, signed when a key was given; shared by all formats, not to be changed."""
    return source.part("uki", lambda path: _make(source, path))


def _make(source: Source, path: Path) -> None:
    boot = source.boot
    if boot.kernel is None:
        raise ConfigError("there is no kernel to boot", fix="name one under kernel:")
    ucode = {} if boot.ucode is None else {".ucode": Content.file(boot.ucode)}
    write(source, path, cmdline=boot.booted_cmdline, initrd=boot.initrd, kernel=boot.kernel, more=ucode)


def write(
    source: Source, path: Path, *, cmdline: str, initrd: Path, kernel: Path, more: Mapping[str, Content] | None = None
) -> None:
    """Write a unified kernel image of these parts to ``path``, signed when a key was given."""
    stub = f"{_STUB_DIRECTORY}/{_STUBS[source.architecture]}"
    sections = {
        ".osrel": Content.of(_OS_RELEASE),
        ".cmdline": Content.of(cmdline.encode()),
        **(more or {}),
        ".initrd": Content.file(initrd),
        ".linux": Content.file(kernel),
    }
    with path.open("w+b") as out:
        uki.write(source.boot_code.read(stub), sections, out, where=stub)
        if source.settings.signer is not None:
            authenticode.sign(out, source.settings.signer)


def _write(source: Source, targets: Targets) -> None:
    targets.take("efi", program(source))


UKI = Format(
    name="uki",
    description="kernel, initrd and command line as one EFI program",
    files=(File(role="efi", suffix=".efi"),),
    write=_write,
    architectures=EFI_ARCHITECTURES,
    firmware=Firmware.EFI,
    boot_code=True,
)
