"""What the argument of ``moby run`` means: a built ``Artifact``, a disk or ISO file, or the prefix of kernel files.

A path that exists is an ISO (by name or content), a unified kernel image or a disk; otherwise it is a prefix:
``NAME-kernel`` with ``NAME-squashfs.img`` boots the squashfs, ``NAME-kernel`` alone boots ``NAME-initrd.img`` with
``NAME-cmdline``. The rest of the files is told by their first bytes: disk formats, ISO boot catalogs, kernel headers.
"""

from __future__ import annotations

import contextlib
import platform
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from moby.artifact import Architecture, Artifact, Firmware, host_architecture
from moby.errors import ConfigError, IntegrityError, PlatformError
from moby.formats import pe
from moby.formats.recognise import recognise
from moby.machines.options import BootKind, RunOptions

_MIB = 1 << 20
_SQUASHFS_ROOT = "root=/dev/vda"
_FINDS_ROOT = "moby.root="  # what the initrd of a root on a disk knows it by
_DISK_MAGIC = ((b"QFI\xfb", "qcow2"), (b"KDMV", "vmdk"), (b"# Disk DescriptorFile", "vmdk"), (b"vhdxfile", "vhdx"))
_VDI_SIGNATURE = (64, b"\x7f\x10\xda\xbe")
_VHD_COOKIE = b"conectix"  # at the start of a dynamic VHD, and in its last 512 bytes always
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True, kw_only=True)
class BootDisk:
    """A disk of the image itself."""

    path: Path
    format: str = "raw"
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a machine starts from; ``prefix`` names it and places its state directory (``PREFIX-state``)."""

    prefix: Path
    architecture: Architecture
    firmware: Firmware
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    disks: tuple[BootDisk, ...] = ()
    iso: Path | None = None
    root_bytes: int = 0

    @property
    def name(self) -> str:
        """The machine's name."""
        return self.prefix.name


def boot_from(target: Artifact | Path | str, options: RunOptions) -> Boot:
    """The boot files of ``target``, with the choices of ``options`` applied.

    Raises ``ConfigError`` when there is no such image and ``PlatformError`` when it cannot be booted here.
    """
    boot = from_artifact(target) if isinstance(target, Artifact) else from_path(Path(target), options)
    if boot.kernel is not None:
        _check_kernel(boot.kernel)
    if options.architecture is not None:
        boot = replace(boot, architecture=options.architecture)
    if (
        options.uefi or options.firmware is not None or options.variables is not None
    ) and boot.firmware is Firmware.BIOS:
        boot = replace(boot, firmware=Firmware.EFI)
    return boot


def from_artifact(artifact: Artifact) -> Boot:
    """The boot files of a built image. Raises ``PlatformError`` when its format is not one a machine starts from."""
    files = dict(artifact.files)
    # Next to a kernel an ISO is a root file system, else it is what the firmware boots.
    roles = ("disk", "squashfs", "erofs", "root") + (("iso",) if "kernel" in files else ())
    roots = [files[role] for role in roles if role in files]
    if not roots and not {"kernel", "iso", "efi"} & files.keys():
        raise PlatformError(
            f"the format {artifact.format} cannot be booted by itself",
            where=artifact.name,
            fix="build kernel+initrd, a disk or an ISO",
        )
    first = next(iter(files.values()))
    cmdline = _read_cmdline(files["cmdline"]) if "cmdline" in files else ""
    boot = Boot(
        prefix=first.parent / artifact.name,
        architecture=artifact.architecture,
        firmware=artifact.firmware,
        kernel=files.get("kernel", files.get("efi")),
        initrd=files.get("initrd"),
        cmdline=cmdline,
        disks=tuple(_boot_disk(path, readonly="kernel" in files) for path in roots),
        iso=None if "kernel" in files else files.get("iso"),
        root_bytes=artifact.root_bytes,
    )
    return _with_root(boot)


def from_path(path: Path, options: RunOptions) -> Boot:
    """The boot files a path or prefix names; see the module's text. Raises ``ConfigError`` when there are none."""
    kind = _kind(path, options.kind)
    if kind is BootKind.DISK and options.kind is BootKind.AUTO and _is_program(path):
        architecture = options.architecture or kernel_architecture(path) or _hosts()
        return Boot(prefix=path.with_suffix(""), architecture=architecture, firmware=Firmware.EFI, kernel=path)
    match kind:
        case BootKind.ISO:
            prefix = path.with_suffix("") if path.suffix.lower() == ".iso" else path
            architecture = options.architecture or _hosts()
            return Boot(prefix=prefix, architecture=architecture, firmware=iso_firmware(path), iso=path)
        case BootKind.DISK:
            architecture = options.architecture or _hosts()
            disk = _boot_disk(path, readonly=False)
            firmware = disk_firmware(path) if disk.format == "raw" else _firmware_of_name(path)
            return Boot(prefix=path, architecture=architecture, firmware=firmware, disks=(disk,))
        case _:
            return _from_prefix(path, kind, options)


def _kind(path: Path, forced: BootKind) -> BootKind:
    if forced is not BootKind.AUTO:
        return forced
    if path.is_dir():
        raise ConfigError("is a directory", where=str(path), fix="name a YAML file, an image file or a prefix")
    if path.exists():
        return BootKind.ISO if path.suffix.lower() == ".iso" or _is_iso(path) else BootKind.DISK
    if _beside(path, "-kernel").exists():
        cmdline = _beside(path, "-cmdline")
        finds_root = cmdline.is_file() and _FINDS_ROOT in _read_cmdline(cmdline)
        squashfs = _beside(path, "-squashfs.img").exists() and not finds_root
        return BootKind.SQUASHFS if squashfs else BootKind.KERNEL
    raise ConfigError(
        "no such image",
        where=str(path),
        fix=f"build it first: moby build {path}.yml, or give the path of a disk or ISO",
    )


def _is_program(path: Path) -> bool:
    """Whether a file is a unified kernel image: an EFI program with a kernel in it."""
    with _open(path) as stream, contextlib.suppress(IntegrityError):
        return pe.read(stream, where=str(path)).section(".linux") is not None
    return False


def _from_prefix(prefix: Path, kind: BootKind, options: RunOptions) -> Boot:
    kernel, cmdline = _beside(prefix, "-kernel"), _beside(prefix, "-cmdline")
    initrd, squashfs = _beside(prefix, "-initrd.img"), _beside(prefix, "-squashfs.img")
    wanted = [kernel, squashfs] if kind is BootKind.SQUASHFS else [kernel]
    for path in wanted:
        if not path.is_file():
            raise ConfigError("no such file", where=str(path), fix="build the image first")
    words = _read_cmdline(cmdline) if cmdline.is_file() else ""
    root = squashfs if kind is BootKind.SQUASHFS else _root_of(prefix, words)
    boot = Boot(
        prefix=prefix,
        architecture=options.architecture or kernel_architecture(kernel) or _hosts(),
        firmware=Firmware.DIRECT,
        kernel=kernel,
        initrd=initrd if kind is BootKind.KERNEL and initrd.is_file() else None,
        cmdline=words,
        disks=(BootDisk(path=root, readonly=True),) if root is not None else (),
    )
    return _with_root(boot)


def _root_of(prefix: Path, cmdline: str) -> Path | None:
    """The root's disk of a command line that looks for one. Raises ``ConfigError`` when it is not there."""
    if _FINDS_ROOT not in cmdline:
        return None
    places = [_beside(prefix, suffix) for suffix in ("-squashfs.img", "-erofs.img", ".iso")]
    found = [path for path in places if path.is_file() and _recognised(path) in cmdline]
    if not found:
        raise ConfigError("its root file system is not beside it", where=f"{prefix}-cmdline", fix="build it again")
    return found[0]


def _recognised(path: Path) -> str:
    with path.open("rb") as stream:
        return _FINDS_ROOT + recognise(stream)


def _with_root(boot: Boot) -> Boot:
    """A kernel without an initrd finds its root on the first disk, unless its command line says another."""
    told = any(word.startswith("root=") for word in boot.cmdline.split())
    if boot.kernel is None or boot.initrd is not None or not boot.disks or told:
        return boot
    return replace(boot, cmdline=f"{boot.cmdline} {_SQUASHFS_ROOT}".strip())


def _hosts() -> Architecture:
    """The architecture of this host, for what does not say its own."""
    found = host_architecture()
    if found is None:
        raise PlatformError(f"this host's architecture {platform.machine()} is not known", fix="give --arch")
    return found


def _beside(prefix: Path, suffix: str) -> Path:
    return prefix.with_name(prefix.name + suffix) if prefix.name else prefix / suffix


def _read_cmdline(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the kernel's command line: {error}", where=str(path)) from error


def _boot_disk(path: Path, *, readonly: bool) -> BootDisk:
    found = disk_format(path)
    if found == "gzip":
        raise PlatformError(
            "is a compressed archive, not a disk",
            where=str(path),
            fix=f"unpack it: tar xzf {path.name}, then run the disk",
        )
    return BootDisk(path=path, format=found, readonly=readonly)


def disk_format(path: Path) -> str:
    """QEMU's name for the format of a disk file, by its content; ``gzip`` for an archive. Raises ``ConfigError``."""
    with _open(path) as stream:
        head = stream.read(512)
        for magic, name in _DISK_MAGIC:
            if head.startswith(magic):
                return name
        offset, signature = _VDI_SIGNATURE
        if head[offset : offset + 4] == signature:
            return "vdi"
        if head.startswith(_GZIP):
            return "gzip"
        stream.seek(max(0, path.stat().st_size - 512))
        footer = stream.read(512)
    return "vpc" if _VHD_COOKIE in (head[:8], footer[:8]) else "raw"


def kernel_architecture(path: Path) -> Architecture | None:
    """The architecture a kernel's header names, None when it has no header we know. Raises ``ConfigError``.

    x86: setup header of Documentation/arch/x86/boot.rst; arm64 and riscv64: Image headers of their boot documents;
    ELF: ``e_machine``; a PE file without either (EFI zboot): its COFF machine.
    """
    with _open(path) as stream:
        head = stream.read(0x400)
    if head[0x202:0x206] == b"HdrS":
        return Architecture.AMD64
    if head[0x38:0x3C] == b"ARM\x64":
        return Architecture.ARM64
    if head[0x38:0x3C] == b"RSC\x05":
        return Architecture.RISCV64
    if head.startswith(b"\x7fELF") and len(head) >= 20:
        return _machine({62: "amd64", 183: "arm64", 243: "riscv64"}, head, 18)
    if head.startswith(b"MZ") and len(head) >= 0x40:
        return _machine(
            {0x8664: "amd64", 0xAA64: "arm64", 0x5064: "riscv64"}, head, struct.unpack_from("<I", head, 0x3C)[0] + 4
        )
    return None


def _check_kernel(path: Path) -> None:
    """QEMU runs any bytes as an ancient kernel: refuse what has no header (a compressed one is not looked into)."""
    with _open(path) as stream:
        compressed = stream.read(2) == _GZIP
    if not compressed and kernel_architecture(path) is None:
        raise ConfigError("is not a Linux kernel", where=str(path), fix="build the image again")


def _machine(names: dict[int, str], head: bytes, offset: int) -> Architecture | None:
    if offset + 2 > len(head):
        return None
    (number,) = struct.unpack_from("<H", head, offset)
    return Architecture(names[number]) if number in names else None


def iso_firmware(path: Path) -> Firmware:
    """BIOS when the boot catalog has an x86 entry, else EFI (El Torito 1.0, §2; platform 0xEF is UEFI's)."""
    with _open(path) as stream:
        stream.seek(17 * 2048)
        boot_record = stream.read(2048)
        if not boot_record.startswith(b"\0CD001\x01EL TORITO SPECIFICATION"):
            return _firmware_of_name(path)
        stream.seek(int.from_bytes(boot_record[0x47:0x4B], "little") * 2048)
        platform_id = stream.read(2)[1:]
    return Firmware.EFI if platform_id == b"\xef" else Firmware.BIOS


def disk_firmware(path: Path) -> Firmware:
    """EFI for a raw disk with a protective or EFI-only partition table and no boot code, else BIOS."""
    with _open(path) as stream:
        sector = stream.read(512)
    kinds = {sector[446 + 16 * index + 4] for index in range(4)} if len(sector) == 512 else set()
    return Firmware.EFI if kinds & {0xEE, 0xEF} and not any(sector[:440]) else Firmware.BIOS


def _firmware_of_name(path: Path) -> Firmware:
    return Firmware.EFI if "-efi" in path.name else Firmware.BIOS


def _is_iso(path: Path) -> bool:
    with _open(path) as stream:
        stream.seek(16 * 2048)
        return stream.read(6) == b"\x01CD001"


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read: {error.strerror}", where=str(path)) from error


def memory_mib(boot: Boot) -> int:
    """How much memory a machine gets when nobody says: MiB.

    Measured: the initrd, the root it unpacks to (twice that when it becomes a tmpfs, which holds half the memory) and
    about 100 MiB. An unknown root is taken as four times its initrd. At least 256, in steps of 128; 1024 where the
    image does not tell (firmware, disks, ISOs).
    """
    if boot.kernel is None:
        return 1024
    initrd_bytes = boot.initrd.stat().st_size if boot.initrd is not None else 0
    root_bytes = boot.root_bytes or 4 * initrd_bytes
    if "rootfstype=ramfs" not in boot.cmdline.split():
        root_bytes *= 2
    needed = -(-(initrd_bytes + root_bytes) // _MIB) + 100
    return max(256, -(-needed // 128) * 128)
