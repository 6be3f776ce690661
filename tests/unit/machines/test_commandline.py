from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moby.artifact import Architecture
from moby.machines.commandline import Channels, Command, Drive, Firmware, Network, Virtual, argv
from moby.machines.options import Networking, NetworkKind, Publish

MAC = "02:00:00:00:00:01"
STATE = Path("/s/web-state")
DIRECT = Command(
    qemu=("qemu-system-x86_64",),
    name="web",
    virtual=Virtual(architecture=Architecture.AMD64),
    cpus=1,
    memory_mib=256,
    uuid="00000000-0000-4000-8000-000000000000",
    channels=Channels(control=3, qmp=4, console=5, console_log=STATE / "console.log", attached=True),
    pidfile=STATE / "qemu.pid",
    network=Network(networking=Networking(), mac=MAC, publish=(Publish(host_port=8080, guest_port=80),)),
    kernel=Path("/s/web-kernel"),
    initrd=Path("/s/web-initrd.img"),
    cmdline="console=ttyS0 rootfstype=ramfs",
)
ARM64 = replace(
    DIRECT,
    qemu=("qemu-system-aarch64",),
    virtual=Virtual(architecture=Architecture.ARM64),
    cmdline="console=ttyAMA0",
)
DISK = replace(
    DIRECT,
    virtual=Virtual(architecture=Architecture.AMD64, accelerator="kvm"),
    channels=replace(DIRECT.channels, attached=False),
    network=Network(networking=Networking(kind=NetworkKind.NONE), mac=MAC),
    kernel=None,
    initrd=None,
    cmdline="",
    firmware=Firmware(code=Path("/f/CODE.fd"), variables=STATE / "uefi-vars.fd"),
    disks=(Drive(path=Path("/s/a,b.qcow2"), format="qcow2"), Drive(path=Path("/s/root"), format="raw", readonly=True)),
    devices=("usb-host,hostbus=1",),
    usb=True,
    daemonize=True,
)
MEASURED = replace(DISK, channels=replace(DISK.channels, tpm=6))
ISO = replace(
    DISK,
    virtual=Virtual(architecture=Architecture.ARM64, accelerator="hvf"),
    qemu=("ld.so", "qemu-system-aarch64"),
    firmware=Firmware(code=STATE / "uefi-firmware.fd"),
    network=Network(networking=Networking(kind=NetworkKind.TAP, interface="tap0"), mac=MAC),
    cds=(Path("/s/web.iso"), STATE / "data.iso"),
    boot_cd=True,
    gui=True,
    daemonize=False,
)


def listing(words: list[str]) -> str:
    """One option with its value on each line."""
    return "".join(f"\n{word}" if word.startswith("-") else f" {word}" for word in words).strip() + "\n"


@pytest.mark.parametrize(
    ("name", "command"),
    [("direct", DIRECT), ("arm64", ARM64), ("disk-efi", DISK), ("disk-tpm", MEASURED), ("iso-gui", ISO)],
)
def test_command_line(name: str, command: Command, golden: Callable[[str, str], None]) -> None:
    golden(f"qemu/{name}.txt", listing(argv(command)))


def test_addresses_of_version_6_are_bracketed() -> None:
    port = Publish(host_port=1, guest_port=2, protocol="udp", address="::1")
    words = argv(replace(DIRECT, network=replace(DIRECT.network, publish=(port,))))
    assert "user,id=net0,hostfwd=udp:[::1]:1-:2" in words


def test_bridge_is_named() -> None:
    networking = Networking(kind=NetworkKind.BRIDGE, interface="br0")
    words = argv(replace(DIRECT, network=Network(networking=networking, mac=MAC)))
    assert "bridge,id=net0,br=br0" in words


def test_riscv_has_no_q35() -> None:
    assert Virtual(architecture=Architecture.RISCV64).words == ["-M", "virt", "-accel", "tcg", "-cpu", "rv64"]
