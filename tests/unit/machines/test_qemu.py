"""Starting machines with a QEMU that boots nothing (tests/boot has the real one)."""

from __future__ import annotations

import functools
import io
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest

import moby
from moby import log
from moby.artifact import Architecture
from moby.errors import CommandError, ConfigError, MobyError, PlatformError
from moby.machines import qemu, state, terminal
from moby.machines.machine import REFUSED, Machine
from moby.machines.options import BootKind, Disk, Publish, RunOptions
from moby.machines.qmp import Monitor
from moby.machines.state import State
from moby.machines.toolset import Toolset
from tests.support import fake_qemu
from tests.support.fake_host import TCG, Host


def test_qemu_that_fails_says_why(host: Host) -> None:
    with pytest.raises(CommandError, match="QEMU did not start: cannot set up guest memory") as caught:
        host.run(fails="cannot set up guest memory")
    assert caught.value.status == 4
    assert not state.is_running(host.directory / "web-state")


def test_qemu_that_is_not_there_says_so(host: Host) -> None:
    def missing(architecture: Architecture) -> Toolset:
        return fake_qemu.toolset(host.directory / "absent")

    with pytest.raises(CommandError, match="not found"):
        qemu.run(host.image, TCG, host.context, find_qemu=missing)
    assert not state.is_running(host.directory / "web-state")


def test_image_disks_data_and_memory_reach_the_command_line(host: Host) -> None:
    options = RunOptions(
        accelerator="tcg", data=b"hello", disks=(Disk(size_mib=1, format="raw"),), memory_mib=333, cpus=3
    )
    with host.run(options):
        words = " ".join(host.words)
    where = host.directory / "web-state"
    assert f"file={where / 'disk.img'}" in words
    assert f"file={where / 'data.iso'}" in words
    assert "-m 333" in words
    assert "-smp 3" in words
    assert (where / "disk.img").stat().st_size == 1 << 20
    assert (where / "data.iso").read_bytes()[21 * 2048 :].startswith(b"hello")


def test_accelerator_of_the_environment_is_taken_unless_options_name_one(host: Host) -> None:
    host.context = replace(host.context, environment={"LINUXKIT_QEMU_ACCEL": "kvm"})
    for options, accelerator in ((RunOptions(), "kvm"), (TCG, "tcg")):
        with host.run(options):
            assert host.words[host.words.index("-accel") + 1] == accelerator


@pytest.mark.parametrize(("asked", "given"), [("quiet", "quiet panic=-1"), ("panic=5 quiet", "panic=5 quiet")])
def test_kernel_is_told_to_end_when_it_panics(host: Host, asked: str, given: str) -> None:
    (host.directory / "web-cmdline").write_text(asked)
    with host.run():
        assert host.words[host.words.index("-append") + 1] == given


def test_disk_that_must_not_be_made_is_an_error(host: Host) -> None:
    with pytest.raises(ConfigError, match="no such disk"):
        host.run(RunOptions(accelerator="tcg", disks=(Disk(path=host.directory / "absent"),)))
    with pytest.raises(PlatformError, match="needs qemu-img"):
        host.run(RunOptions(accelerator="tcg", disks=(Disk(size_mib=1),)))


def test_uefi_variables_are_the_machines_own_and_kept(host: Host) -> None:
    code, template = host.directory / "code", host.directory / "template"
    code.write_text("code")
    template.write_text("template")
    (host.directory / "disk.img").write_bytes(bytes(1024))
    tools = fake_qemu.install(host.directory / "bin", ends="guest-shutdown")
    host.tools = replace(tools, firmware=lambda _: (code, template))
    kept = host.directory / "disk.img-state" / "uefi-vars.fd"
    options = RunOptions(accelerator="tcg", uefi=True, kind=BootKind.DISK, architecture=Architecture.AMD64)
    for content in ("template", "changed by the guest"):
        with qemu.run(host.directory / "disk.img", options, host.context, find_qemu=host.find) as machine:
            machine.wait()
        assert kept.read_text() == content
        kept.write_text("changed by the guest")
    assert f"if=pflash,unit=0,format=raw,file={code},readonly=on" in host.words


def test_secure_boot_takes_firmware_that_has_it_and_protects_the_variables(host: Host) -> None:
    code, template, given = (host.directory / name for name in ("secure", "template", "given"))
    for path, content in ((code, "code"), (template, "none"), (given, "keys")):
        path.write_text(content)
    (host.directory / "disk.img").write_bytes(bytes(1024))
    tools = fake_qemu.install(host.directory / "bin", ends="guest-shutdown")
    host.tools = replace(tools, firmware=lambda secure: (code if secure else host.directory / "plain", template))
    options = replace(TCG, variables=given, kind=BootKind.DISK, architecture=Architecture.AMD64)
    with qemu.run(host.directory / "disk.img", options, host.context, find_qemu=host.find) as machine:
        machine.wait()
    assert f"if=pflash,unit=0,format=raw,file={code},readonly=on" in host.words
    assert "driver=cfi.pflash01,property=secure,value=on" in host.words
    given.write_text("of another size")
    with pytest.raises(ConfigError, match="not variables of the firmware"):
        qemu.run(host.directory / "disk.img", options, host.context, find_qemu=host.find)


def test_named_firmware_is_copied_and_must_exist(host: Host) -> None:
    (host.directory / "fw").write_text("both")
    with host.run(RunOptions(accelerator="tcg", firmware=host.directory / "fw")):
        copy = host.directory / "web-state" / "uefi-firmware.fd"
        assert f"if=pflash,unit=0,format=raw,file={copy}" in host.words
    with pytest.raises(ConfigError, match="no such file"):
        host.run(RunOptions(accelerator="tcg", firmware=host.directory / "absent"))


@pytest.mark.parametrize(("protocol", "kind"), [("tcp", socket.SOCK_STREAM), ("udp", socket.SOCK_DGRAM)])
def test_port_in_use_is_told_before_anything_starts(host: Host, protocol: str, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if kind is socket.SOCK_STREAM:
            taken.listen()
        port = Publish(host_port=taken.getsockname()[1], guest_port=80, protocol=protocol)
        with pytest.raises(PlatformError, match="is in use"):
            host.run(RunOptions(accelerator="tcg", publish=(port,)))
    assert not (host.directory / "web-state").exists()


def test_address_that_is_not_the_hosts_is_told(host: Host) -> None:
    port = Publish(host_port=8080, guest_port=80, address="192.0.2.1")
    with pytest.raises(PlatformError, match="cannot be used"):
        host.run(RunOptions(accelerator="tcg", publish=(port,)))


@pytest.mark.parametrize("detach", [True, False], ids=["detached", "child"])
@pytest.mark.parametrize("step", [(Monitor, "open"), (Monitor, "execute"), (State, "record")], ids=lambda step: step[1])
def test_start_that_fails_leaves_no_machine(
    host: Host, monkeypatch: pytest.MonkeyPatch, step: tuple[type, str], detach: bool
) -> None:
    def fail(*arguments: object) -> None:
        raise PlatformError("something is wrong")

    monkeypatch.setattr(*step, fail)
    monkeypatch.setattr(qemu, "_LAST_WORDS_S", 0.01)
    with pytest.raises(MobyError, match=r"something is wrong|QEMU did not start"):
        host.run(RunOptions(accelerator="tcg", detach=detach), ends="deaf")
    assert not state.is_running(host.directory / "web-state")
    assert (host.directory / "bin" / "argv.json").exists()


def test_back_end_is_taken_by_its_name(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    def start(target: object, *rest: object, **options: object) -> Machine:
        asked.append(target)
        raise PlatformError("another back end")

    monkeypatch.setattr("moby.machines.MACHINES", {"other": start})
    for run in (moby.run, functools.partial(terminal.run_foreground, stdin=io.BytesIO(), stdout=io.BytesIO())):
        call: Callable[..., object] = functools.partial(run, host.image, options=TCG, context=host.context)
        with pytest.raises(PlatformError, match="another back end"):
            call(back_end="other")
        with pytest.raises(ConfigError, match=r"no back end 'xen' \(known: other\)"):
            call(back_end="xen")
    assert asked == [host.image, host.image]


REFUSAL = (
    'BdsDxe: failed to load Boot0001 "UEFI Misc Device" from PciRoot(0x0)/Pci(0x3,0x0): Access Denied\n'
    "BdsDxe: No bootable option or device was found.\n"
)


def secure(host: Host) -> RunOptions:
    for name in ("code.fd", "vars.fd"):
        (host.directory / name).write_text(name)
    return replace(TCG, firmware=host.directory / "code.fd", variables=host.directory / "vars.fd")


@pytest.mark.parametrize("ends", ["hang", "deaf"])
def test_a_machine_that_secure_boot_refuses_ends_with_a_status_of_its_own(
    host: Host, ends: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with log.reporting(log.Console()):
        status, _ = host.foreground(secure(host), says=REFUSAL, ends=ends)
    assert status == REFUSED
    assert "Secure Boot: the firmware denies access to UEFI Misc Device" in capsys.readouterr().err
    assert not state.is_running(host.directory / "web-state")


def test_without_secure_boot_a_guest_may_say_what_it_likes(host: Host) -> None:
    with host.run(says=REFUSAL) as machine:
        assert machine.wait(0.6) is None


def test_given_firmware_takes_given_variables_in_a_copy(host: Host) -> None:
    with host.run(secure(host)):
        words = " ".join(host.words)
    copy = host.directory / "web-state/uefi-vars-given.fd"
    assert copy.read_text() == "vars.fd"
    assert f"unit=0,format=raw,file={host.directory / 'code.fd'},readonly=on" in words
    assert f"unit=1,format=raw,file={copy}" in words
