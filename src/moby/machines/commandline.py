"""QEMU's command line as a pure function of what a machine is made of.

Nothing here looks at the host: paths, ports and descriptors are given. ``-nodefaults`` leaves out every device that is
not listed; ``romfile=`` spares the network boot ROM; ``-no-reboot`` turns a guest's reset into an exit, so that its
reason can be read from the event; ``-S`` keeps the guest from starting before somebody listens to events. Disks are
virtio-blk and CDs are virtio-scsi because Debian's cloud kernels drive nothing else. Control and console are sockets
that are open before QEMU starts: no path can be raced or too long.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from moby.artifact import Architecture
from moby.machines.options import Networking, NetworkKind, Publish

TCG = "tcg"


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """What of QEMU depends on the guest's architecture.

    ``tcg_cpu`` is the fastest complete model under emulation: on arm64 ``max`` computes pointer authentication in
    software and takes several times as long; on amd64 a processor said to be quick at ``rep movsb`` (erms, fsrm) has
    Linux copy memory in that way, which is emulated byte by byte.
    """

    machine: str
    tcg_cpu: str
    console: str
    panic_devices: tuple[str, ...] = ("pvpanic-pci",)
    vm_machine: str = ""
    tpm_device: str = ""


PLATFORMS: Mapping[Architecture, Platform] = {
    Architecture.AMD64: Platform(
        machine="q35",
        tcg_cpu="max,-erms,-fsrm",
        console="ttyS0",
        # Two ways to say the same: some kernels know the ISA device only, some the PCI one.
        panic_devices=("pvpanic", "pvpanic-pci"),
        tpm_device="tpm-tis",
    ),
    Architecture.ARM64: Platform(
        machine="virt",
        tcg_cpu="cortex-a57",
        console="ttyAMA0",
        vm_machine="virt,gic-version=max",
        tpm_device="tpm-tis-device",
    ),
    Architecture.RISCV64: Platform(machine="virt", tcg_cpu="rv64", console="ttyS0"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Virtual:
    """The processor side of a machine: what an accelerator probe has to try as well."""

    architecture: Architecture
    accelerator: str = TCG

    @property
    def words(self) -> list[str]:
        """``-M``, ``-accel`` and ``-cpu`` with their values."""
        platform = PLATFORMS[self.architecture]
        if self.accelerator == TCG:
            machine, cpu = platform.machine, platform.tcg_cpu
        else:
            machine, cpu = platform.vm_machine or platform.machine, "host"
        return ["-M", machine, "-accel", self.accelerator, "-cpu", cpu]


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """A disk image and how it is attached."""

    path: Path
    format: str
    readonly: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """UEFI flash: the code, and a private copy of the variables (None when both are in one file).

    ``protected``: nobody but the code itself, in system management mode, may write the variables (amd64).
    """

    code: Path
    variables: Path | None = None
    protected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """The guest's network card."""

    networking: Networking
    mac: str
    publish: tuple[Publish, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """Descriptors QEMU inherits: a connected QMP socket for this tool, a listening one for others, the console.

    The console is a connected socket when it is ``attached`` to a terminal, so that no output is missed, else a
    listening one. ``tpm`` is connected to a TPM.
    """

    control: int
    qmp: int
    console: int
    console_log: Path
    attached: bool = False
    tpm: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """Everything QEMU is told."""

    qemu: tuple[str, ...]
    name: str
    virtual: Virtual
    cpus: int
    memory_mib: int
    uuid: str
    channels: Channels
    pidfile: Path
    network: Network
    kernel: Path | None = None
    initrd: Path | None = None
    cmdline: str = ""
    firmware: Firmware | None = None
    disks: tuple[Drive, ...] = ()
    cds: tuple[Path, ...] = ()
    boot_cd: bool = False
    gui: bool = False
    usb: bool = False
    devices: tuple[str, ...] = ()
    daemonize: bool = False


def argv(command: Command) -> list[str]:
    """The words to start, program first."""
    words = [*command.qemu, "-name", f"guest={_value(command.name)}", *command.virtual.words]
    words += ["-nodefaults", "-no-user-config", "-no-reboot", "-S"]
    words += ["-smp", str(command.cpus), "-m", str(command.memory_mib), "-uuid", command.uuid]
    words += ["-pidfile", str(command.pidfile), *_display(command), *_channels(command.channels)]
    words += ["-object", "rng-builtin,id=rng0", "-device", "virtio-rng-pci,rng=rng0"]
    for device in PLATFORMS[command.virtual.architecture].panic_devices:
        words += ["-device", device]
    words += [*_firmware(command.firmware), *_disks(command), *_cds(command), *_kernel(command)]
    words += [*_network(command.network), *_tpm(command)]
    if command.usb and not command.gui:
        words += ["-device", "qemu-xhci"]
    for device in command.devices:
        words += ["-device", device]
    return words + (["-daemonize"] if command.daemonize else [])


def _value(text: str | os.PathLike[str]) -> str:
    """A value inside a comma-separated option: QEMU reads two commas as one."""
    return os.fspath(text).replace(",", ",,")


def _display(command: Command) -> list[str]:
    if not command.gui:
        return ["-display", "none"]
    screen = "VGA" if command.virtual.architecture is Architecture.AMD64 else "virtio-gpu-pci"
    return [word for device in (screen, "qemu-xhci", "usb-kbd", "usb-tablet") for word in ("-device", device)]


def _channels(channels: Channels) -> list[str]:
    control, public = f"socket,id=control,fd={channels.control}", f"socket,id=qmp,fd={channels.qmp},server=on,wait=off"
    console = f"socket,id=console,fd={channels.console}" + ("" if channels.attached else ",server=on,wait=off")
    words = ["-chardev", control, "-mon", "chardev=control,mode=control"]
    words += ["-chardev", public, "-mon", "chardev=qmp,mode=control"]
    return [*words, "-chardev", f"{console},logfile={_value(channels.console_log)}", "-serial", "chardev:console"]


def _firmware(firmware: Firmware | None) -> list[str]:
    if firmware is None:
        return []
    code = f"if=pflash,unit=0,format=raw,file={_value(firmware.code)}"
    if firmware.variables is None:
        return ["-drive", code]
    variables = f"if=pflash,unit=1,format=raw,file={_value(firmware.variables)}"
    words = ["-drive", f"{code},readonly=on", "-drive", variables]
    if firmware.protected:
        # OVMF with SMM resumes badly from S3, so S3 is off.
        words += ["-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"]
    return words


def _disks(command: Command) -> list[str]:
    words: list[str] = []
    for index, disk in enumerate(command.disks):
        readonly = ",readonly=on" if disk.readonly else ""
        drive = f"if=none,id=disk{index},format={disk.format},file={_value(disk.path)}{readonly}"
        # With a kernel given, its loader is what boots first.
        boot = f",bootindex={index + (1 if command.boot_cd else 0)}" if command.kernel is None else ""
        words += ["-drive", drive, "-device", f"virtio-blk-pci,drive=disk{index}{boot}"]
    return words


def _cds(command: Command) -> list[str]:
    words = ["-device", "virtio-scsi-pci,id=scsi0"] if command.cds else []
    for index, path in enumerate(command.cds):
        drive = f"if=none,id=cd{index},format=raw,media=cdrom,readonly=on,file={_value(path)}"
        boot = ",bootindex=0" if command.boot_cd and index == 0 else ""
        words += ["-drive", drive, "-device", f"scsi-cd,bus=scsi0.0,drive=cd{index}{boot}"]
    return words


def _kernel(command: Command) -> list[str]:
    if command.kernel is None:
        return []
    words = ["-kernel", str(command.kernel)]
    if command.initrd is not None:
        words += ["-initrd", str(command.initrd)]
    return words + (["-append", command.cmdline] if command.cmdline else [])


def _tpm(command: Command) -> list[str]:
    if command.channels.tpm is None:
        return []
    device = PLATFORMS[command.virtual.architecture].tpm_device
    words = ["-chardev", f"socket,id=tpm,fd={command.channels.tpm}", "-tpmdev", "emulator,id=tpm0,chardev=tpm"]
    return [*words, "-device", f"{device},tpmdev=tpm0"]


def _network(network: Network) -> list[str]:
    match network.networking.kind:
        case NetworkKind.NONE:
            return ["-nic", "none"]
        case NetworkKind.USER:
            backend = "user,id=net0" + "".join(f",hostfwd={_forward(port)}" for port in network.publish)
        case NetworkKind.TAP:
            backend = f"tap,id=net0,ifname={_value(network.networking.interface)},script=no,downscript=no"
        case NetworkKind.BRIDGE:
            backend = f"bridge,id=net0,br={_value(network.networking.interface)}"
    return ["-netdev", backend, "-device", f"virtio-net-pci,netdev=net0,mac={network.mac},romfile="]


def _forward(port: Publish) -> str:
    address = f"[{port.address}]" if ":" in port.address else port.address
    return f"{port.protocol}:{address}:{port.host_port}-:{port.guest_port}"
