from __future__ import annotations

import struct
from pathlib import Path

import pytest

from moby.artifact import Architecture, Artifact, Firmware
from moby.errors import ConfigError, PlatformError
from moby.formats import uki
from moby.formats.content import Content
from moby.machines.options import BootKind, RunOptions
from moby.machines.probe_kernel import PROBES
from moby.machines.resolve import (
    boot_from,
    disk_firmware,
    disk_format,
    iso_firmware,
    kernel_architecture,
    memory_mib,
)
from tests.support import efi
from tests.support.guests import POWER_OFF, prefix


def bzimage() -> bytes:
    header = bytearray(4096)
    header[0x202:0x206] = b"HdrS"
    return bytes(header)


def image_header(magic: bytes) -> bytes:
    return bytes(0x38) + magic + bytes(0x400)


def pe(machine: int) -> bytes:
    header = bytearray(0x400)
    header[:2] = b"MZ"
    struct.pack_into("<I", header, 0x3C, 0x80)
    struct.pack_into("<4sH", header, 0x80, b"PE", machine)
    return bytes(header)


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (bzimage(), Architecture.AMD64),
        (image_header(b"ARM\x64"), Architecture.ARM64),
        (image_header(b"RSC\x05"), Architecture.RISCV64),
        (pe(0xAA64), Architecture.ARM64),
        (PROBES[Architecture.AMD64](), Architecture.AMD64),
        (PROBES[Architecture.ARM64](), Architecture.ARM64),
        (b"", None),
        (b"MZ" + b"\xff" * 100, None),
        (b"\x7fELF" + bytes(100), None),
        (b"#!/bin/sh\n", None),
    ],
)
def test_kernel_headers_tell_the_architecture(tmp_path: Path, content: bytes, want: Architecture | None) -> None:
    (tmp_path / "kernel").write_bytes(content)
    assert kernel_architecture(tmp_path / "kernel") == want


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (b"QFI\xfb" + bytes(600), "qcow2"),
        (b"KDMV" + bytes(600), "vmdk"),
        (b"# Disk DescriptorFile\n", "vmdk"),
        (b"vhdxfile" + bytes(600), "vhdx"),
        (bytes(64) + b"\x7f\x10\xda\xbe" + bytes(600), "vdi"),
        (bytes(4096) + b"conectix" + bytes(504), "vpc"),
        (b"conectix" + bytes(2000), "vpc"),
        (b"\x1f\x8b" + bytes(600), "gzip"),
        (bytes(4096), "raw"),
        (b"", "raw"),
    ],
)
def test_disk_formats_are_told_by_content(tmp_path: Path, content: bytes, want: str) -> None:
    (tmp_path / "disk").write_bytes(content)
    assert disk_format(tmp_path / "disk") == want


def partition_table(kind: int, code: bytes = b"") -> bytes:
    table = bytearray(code.ljust(446, b"\0") + bytes(64) + b"\x55\xaa")
    table[446 + 4] = kind
    return bytes(table)


@pytest.mark.parametrize(
    ("content", "want"),
    [
        (partition_table(0xEE), Firmware.EFI),
        (partition_table(0xEF), Firmware.EFI),
        (partition_table(0xEE, b"\xfa\xeb"), Firmware.BIOS),
        (partition_table(0x0C, b"\xfa\xeb"), Firmware.BIOS),
        (b"", Firmware.BIOS),
    ],
)
def test_partition_tables_tell_the_firmware(tmp_path: Path, content: bytes, want: Firmware) -> None:
    (tmp_path / "disk").write_bytes(content)
    assert disk_firmware(tmp_path / "disk") == want


def iso(platform: int | None) -> bytes:
    sectors = [bytes(2048)] * 16 + [b"\x01CD001".ljust(2048, b"\0")]
    if platform is not None:
        record = bytearray(b"\0CD001\x01EL TORITO SPECIFICATION".ljust(2048, b"\0"))
        record[0x47:0x4B] = struct.pack("<I", 18)
        sectors += [bytes(record), bytes((1, platform)).ljust(2048, b"\0")]
    return b"".join(sectors)


@pytest.mark.parametrize(("platform", "want"), [(0, Firmware.BIOS), (0xEF, Firmware.EFI), (None, Firmware.BIOS)])
def test_boot_catalogs_tell_the_firmware(tmp_path: Path, platform: int | None, want: Firmware) -> None:
    (tmp_path / "cd").write_bytes(iso(platform))
    assert iso_firmware(tmp_path / "cd") == want


def test_prefix_of_a_kernel_boots_its_initrd_and_command_line(tmp_path: Path) -> None:
    image = prefix(tmp_path, POWER_OFF, name="web")
    (tmp_path / "web-initrd.img").write_bytes(b"x")
    boot = boot_from(image, RunOptions())
    assert (boot.name, boot.architecture, boot.firmware) == ("web", Architecture.AMD64, Firmware.DIRECT)
    assert (boot.kernel, boot.initrd) == (tmp_path / "web-kernel", tmp_path / "web-initrd.img")
    assert (boot.cmdline, boot.disks) == ("console=ttyS0", ())


def test_squashfs_beside_the_kernel_becomes_the_root_disk(tmp_path: Path) -> None:
    image = prefix(tmp_path, POWER_OFF)
    for name in ("guest-initrd.img", "guest-squashfs.img"):
        (tmp_path / name).write_bytes(b"x")
    boot = boot_from(image, RunOptions())
    assert boot.initrd is None
    (root,) = boot.disks
    assert (root.path.name, root.format, root.readonly) == ("guest-squashfs.img", "raw", True)
    assert boot.cmdline == "console=ttyS0 root=/dev/vda"
    assert boot_from(image, RunOptions(kind=BootKind.KERNEL)).initrd is not None


def test_root_of_the_command_line_wins(tmp_path: Path) -> None:
    image = prefix(tmp_path, POWER_OFF)
    (tmp_path / "guest-squashfs.img").write_bytes(b"x")
    (tmp_path / "guest-cmdline").write_text("root=/dev/sda ro\n")
    assert boot_from(image, RunOptions()).cmdline == "root=/dev/sda ro"


def test_the_root_of_an_nfs_server_is_no_root_of_a_disk(tmp_path: Path) -> None:
    image = prefix(tmp_path, POWER_OFF)
    (tmp_path / "guest-squashfs.img").write_bytes(b"x")
    (tmp_path / "guest-cmdline").write_text("nfsroot=10.0.0.1:/r\n")
    assert boot_from(image, RunOptions()).cmdline == "nfsroot=10.0.0.1:/r root=/dev/vda"


def test_existing_files_are_isos_or_disks(tmp_path: Path) -> None:
    (tmp_path / "cd.iso").write_bytes(iso(0xEF))
    (tmp_path / "cd").write_bytes(iso(0))
    (tmp_path / "disk.img").write_bytes(partition_table(0xEE))
    cd, unnamed, disk = (boot_from(tmp_path / name, RunOptions()) for name in ("cd.iso", "cd", "disk.img"))
    assert (cd.iso, cd.firmware, cd.name) == (tmp_path / "cd.iso", Firmware.EFI, "cd")
    assert (unnamed.iso, unnamed.firmware) == (tmp_path / "cd", Firmware.BIOS)
    assert (disk.disks[0].path, disk.firmware) == (tmp_path / "disk.img", Firmware.EFI)
    assert boot_from(tmp_path / "cd", RunOptions(uefi=True)).firmware is Firmware.EFI


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("x.img.tar.gz", b"\x1f\x8b" + bytes(600), "compressed archive"),
        ("y-kernel", b"random", "not a Linux kernel"),
    ],
)
def test_files_that_cannot_boot_are_refused(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises((ConfigError, PlatformError), match=fault):
        boot_from(tmp_path / name.removesuffix("-kernel"), RunOptions())


def test_missing_image_says_how_to_build_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        boot_from(tmp_path / "web", RunOptions())
    assert f"moby build {tmp_path / 'web'}.yml" in caught.value.fix
    with pytest.raises(ConfigError, match="is a directory"):
        boot_from(tmp_path, RunOptions())
    with pytest.raises(ConfigError, match="no such file"):
        boot_from(tmp_path / "web", RunOptions(kind=BootKind.SQUASHFS))


def artifact(tmp_path: Path, output: str, *roles: str, root_bytes: int = 0) -> Artifact:
    prefix(tmp_path, POWER_OFF)
    paths = {"kernel": tmp_path / "guest-kernel", "cmdline": tmp_path / "guest-cmdline"}
    for role in roles:
        if role not in paths:
            paths[role] = tmp_path / f"guest-{role}"
            paths[role].write_bytes(bytes(1000))
    return Artifact(
        name="guest",
        format=output,
        architecture=Architecture.AMD64,
        firmware=Firmware.DIRECT if "kernel" in roles else Firmware.EFI,
        files=tuple((role, paths[role]) for role in roles),
        size_bytes=1,
        root_bytes=root_bytes,
    )


def test_artifacts_boot_from_their_roles(tmp_path: Path) -> None:
    direct = boot_from(artifact(tmp_path, "kernel+initrd", "kernel", "initrd", "cmdline"), RunOptions())
    assert direct.initrd == tmp_path / "guest-initrd"
    assert direct.prefix == tmp_path / "guest"
    rooted = boot_from(artifact(tmp_path, "kernel+squashfs", "kernel", "cmdline", "squashfs"), RunOptions())
    assert rooted.cmdline.endswith("root=/dev/vda")
    assert rooted.disks[0].readonly
    with_iso = boot_from(artifact(tmp_path, "kernel+iso", "kernel", "initrd", "cmdline", "iso"), RunOptions())
    assert (with_iso.iso, with_iso.disks[0].path.name) == (None, "guest-iso")
    disk = boot_from(artifact(tmp_path, "raw-efi", "disk"), RunOptions())
    assert (disk.firmware, disk.disks[0].readonly) == (Firmware.EFI, False)
    with pytest.raises(PlatformError, match="tar cannot be booted"):
        boot_from(artifact(tmp_path, "tar", "tar"), RunOptions())


def test_memory_follows_the_image(tmp_path: Path) -> None:
    def megabytes(root: int, cmdline: str) -> int:
        made = artifact(tmp_path, "kernel+initrd", "kernel", "initrd", "cmdline", root_bytes=root << 20)
        (tmp_path / "guest-cmdline").write_text(cmdline)
        return memory_mib(boot_from(made, RunOptions()))

    assert megabytes(30, "rootfstype=ramfs") == 256
    assert megabytes(160, "quiet rootfstype=ramfs") == 384
    assert megabytes(160, "quiet") == 512  # a tmpfs holds half the memory
    assert memory_mib(boot_from(artifact(tmp_path, "raw-efi", "disk"), RunOptions())) == 1024


def program(folder: Path) -> Path:
    path = folder / "web.efi"
    with path.open("w+b") as out:
        uki.write(efi.stub(), {".linux": Content.of(bzimage()), ".cmdline": Content.of(b"quiet")}, out)
    return path


def test_a_unified_kernel_image_is_what_uefi_starts(tmp_path: Path) -> None:
    boot = boot_from(program(tmp_path), RunOptions())
    assert (boot.kernel, boot.firmware, boot.disks) == (tmp_path / "web.efi", Firmware.EFI, ())
    assert (boot.name, boot.cmdline, boot.initrd, boot.architecture) == ("web", "", None, Architecture.AMD64)
    disk = boot_from(program(tmp_path), RunOptions(kind=BootKind.DISK))
    assert (disk.kernel, disk.disks[0].path) == (None, tmp_path / "web.efi")


def test_an_artifact_of_one_is_booted_the_same_way(tmp_path: Path) -> None:
    artifact = Artifact(
        name="web",
        format="uki",
        architecture=Architecture.AMD64,
        firmware=Firmware.EFI,
        files=(("efi", program(tmp_path)),),
        size_bytes=1,
    )
    assert boot_from(artifact, RunOptions()) == boot_from(tmp_path / "web.efi", RunOptions())


def test_an_efi_program_without_a_kernel_is_a_disk(tmp_path: Path) -> None:
    (tmp_path / "shell.efi").write_bytes(efi.stub())
    assert boot_from(tmp_path / "shell.efi", RunOptions()).kernel is None
