"""The shipped components in one emulated machine, looked at over ssh."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import moby
from moby.context import Context
from moby.errors import CommandError
from moby.machines import qemu
from moby.machines.commandline import TCG
from moby.machines.machine import Machine
from moby.machines.options import Disk, Publish, RunOptions
from tests.support.shell import Shell, make_key

pytestmark = pytest.mark.boot

PAGE = "<h1>A page of the test</h1>\n"
# The hash of "moby", in the short form of a shadow line.
SHADOW = (
    "root:$6$mobymobymoby$UWE5f5dmt4dcFwUjMNsxn2C009aa9iN/gVQZ6uttr4GZ2PlEOiHOml7RpVsoauLHE7/"
    "yX8WnWiBpk0AN/m3Md0:::::::\n"
)
CAPABILITIES = {"chown": 0, "setgid": 6, "setuid": 7, "net_bind_service": 10}


def description(key: str) -> str:
    """All components in one machine."""
    once = ["/sbin/dhcpcd", "--nobackground", "-f", "/dhcpcd.conf", "-1"]
    document = {
        "kernel": {"image": "@pkg:kernel", "cmdline": "console=ttyS0"},
        "init": [f"@pkg:{name}" for name in ("init", "crun", "modprobe", "busybox", "ca-certificates")],
        "onboot": [
            {"name": "sysctl", "image": "@pkg:sysctl"},
            {"name": "rngd", "image": "@pkg:rngd", "command": ["/sbin/rngd", "-1"]},
            {"name": "modprobe", "image": "@pkg:modprobe", "command": ["modprobe", "-a", "dm_crypt", "tun"]},
            {"name": "dhcpcd", "image": "@pkg:dhcpcd", "command": once},
        ],
        "services": [
            {"name": "dhcpcd", "image": "@pkg:dhcpcd"},
            {"name": "getty", "image": "@pkg:getty"},
            {"name": "nginx", "image": "@pkg:nginx", "binds": ["/etc/page:/usr/share/nginx/html:ro"]},
            {"name": "rngd", "image": "@pkg:rngd"},
            {"name": "sshd", "image": "@pkg:sshd", "binds.add": ["/root/.ssh:/root/.ssh"]},
        ],
        "files": [
            {"path": "etc/page/index.html", "contents": PAGE, "mode": "0644"},
            {"path": "etc/getty.shadow", "contents": SHADOW, "mode": "0600"},
            {"path": "root/.ssh", "directory": True, "mode": "0700"},
            {"path": "root/.ssh/authorized_keys", "contents": key, "mode": "0600"},
        ],
    }
    return yaml.safe_dump(document)


class Console:
    """What the machine's console says, and typing on it."""

    def __init__(self, live: socket.socket) -> None:
        self._live = live
        self._said = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            while data := self._live.recv(4096):
                self._said += data
        except OSError:
            return

    def until(self, text: str, timeout_s: float = 30) -> str:
        """What was said up to ``text``; the next call goes on behind it."""
        deadline = time.monotonic() + timeout_s
        while text.encode() not in self._said:
            assert time.monotonic() < deadline, self._said.decode(errors="replace")
            time.sleep(0.05)
        before, _, self._said = self._said.partition(text.encode())
        return before.decode(errors="replace")

    def type(self, text: str) -> None:
        self._live.sendall(text.encode())


class Guest:
    """The running machine and the ways into it."""

    def __init__(self, machine: Machine, shell: Shell, web_port: int) -> None:
        assert machine.terminal is not None
        self.machine = machine
        self.run = shell.run
        self.shell = shell
        self.web_port = web_port
        self.console = Console(machine.terminal)

    def process(self, name: str, uid: int) -> dict[str, str]:
        """``/proc/PID/status`` of the only process called ``name`` of user ``uid``."""
        found = [self.status(each) for each in self.run(f"pidof {name}").split()]
        (wanted,) = [each for each in found if each["Uid"].split()[0] == str(uid)]
        return wanted

    def status(self, process: str) -> dict[str, str]:
        """``/proc/PID/status``."""
        lines = self.run(f"cat /proc/{process}/status").splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def guest(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    directory = tmp_path_factory.mktemp("components")
    key = directory / "key"
    (directory / "all.yml").write_text(description(make_key(key)))
    context = Context.from_environment()
    artifacts = moby.build(directory / "all.yml", directory=directory, context=context)
    web, ssh = free_ports(2)
    options = RunOptions(
        publish=(Publish(host_port=web, guest_port=80), Publish(host_port=ssh, guest_port=22)),
        accelerator=TCG,
        memory_mib=512,
        disks=(Disk(size_mib=16),),
        devices=("virtio-scsi-pci",),
    )
    with qemu.run(artifacts[0], options, context, attach=True) as machine:
        guest = Guest(machine, Shell(port=ssh, key=key), web)
        guest.console.until("login: ", timeout_s=90)
        guest.shell.wait()
        yield guest


def test_every_onboot_container_succeeded_and_every_service_runs(guest: Guest) -> None:
    containers = json.loads(guest.run("service status --json"))["containers"]
    ended = {each["name"]: each["exit"] for each in containers if each["section"] == "onboot"}
    assert ended == {"000-sysctl": 0, "001-rngd": 0, "002-modprobe": 0, "003-dhcpcd": 0}
    running = {each["name"]: each["state"] for each in containers if each["section"] == "services"}
    assert running == dict.fromkeys(("dhcpcd", "getty", "nginx", "rngd", "sshd"), "running")


@pytest.mark.shows("nginx in a container of its own serves the page of the YAML file", by="boot")
def test_nginx_serves_the_page_of_the_description(guest: Guest) -> None:
    assert guest.machine.wait_http(guest.web_port) == PAGE.encode()


@pytest.mark.shows("A container has a read-only root and its listed capabilities alone", by="boot")
def test_nginx_has_a_read_only_root_and_its_listed_capabilities_alone(guest: Guest) -> None:
    master, worker = guest.process("nginx", uid=0), guest.process("nginx", uid=33)
    listed = f"{sum(1 << bit for bit in CAPABILITIES.values()):016x}"
    assert {master[name] for name in ("CapEff", "CapPrm", "CapBnd")} == {listed}
    assert worker["CapEff"] == "0" * 16
    mounts = [line.split() for line in guest.run(f"cat /proc/{master['Pid']}/mounts").splitlines()]
    assert next("ro" in options.split(",") for _, place, _, options, *_ in mounts if place == "/")


def test_requests_are_in_the_log(guest: Guest) -> None:
    guest.machine.wait_http(guest.web_port)
    assert re.search(r'"GET / HTTP/1\.[01]" 200 ', guest.run("cat /var/log/nginx.out.log"))


@pytest.mark.shows("sysctl settings", by="boot")
def test_sysctl_sets_the_kernel(guest: Guest) -> None:
    values = guest.run("cat /proc/sys/kernel/kptr_restrict /proc/sys/net/ipv4/conf/all/rp_filter").split()
    assert values == ["2", "1"]
    assert guest.run("cat /run/log/onboot/onboot.000-sysctl.log") == ""


@pytest.mark.shows("Address, route and resolver from DHCP", by="boot")
def test_lease_gives_address_route_and_resolver(guest: Guest) -> None:
    assert "inet 10.0.2.15/24" in guest.run("ip address show eth0")
    assert "default via 10.0.2.2" in guest.run("ip route")
    assert "nameserver 10.0.2.3" in guest.run("cat /etc/resolv.conf")


def test_drivers_of_devices_are_loaded_without_being_named(guest: Guest) -> None:
    assert guest.run("test -d /sys/module/virtio_scsi && ls /sys/block | grep -v loop").split() == ["vda"]


@pytest.mark.shows("Kernel modules on demand", by="boot")
def test_kernel_loads_modules_on_demand(guest: Guest) -> None:
    assert not guest.run("ls /sys/module").count("wireguard")
    guest.run("ip link add wg0 type wireguard")
    assert "wireguard" in guest.run("ls /sys/module")


def test_modprobe_loads_by_name_as_a_container(guest: Guest) -> None:
    assert guest.run("ls -d /sys/module/dm_crypt /sys/module/tun").split() == [
        "/sys/module/dm_crypt",
        "/sys/module/tun",
    ]


def test_random_numbers_are_ready(guest: Guest) -> None:
    assert len(guest.run("timeout 5 head -c 16 /dev/random | xxd -p").strip()) == 32


@pytest.mark.shows("Login on the console with the machine's password", by="boot")
def test_root_password_of_the_machine_opens_the_console(guest: Guest) -> None:
    guest.console.type("root\n")
    guest.console.until("Password: ")
    guest.console.type("moby\n")
    guest.console.until("# ")
    guest.console.type("echo $((40 + 2)) $(tty)\n")
    guest.console.until("42 /dev/ttyS0")
    guest.console.type("exit\n")
    guest.console.until("login: ")


def test_wrong_password_does_not(guest: Guest) -> None:
    guest.console.type("root\n")
    guest.console.until("Password: ")
    guest.console.type("wrong\n")
    guest.console.until("Login incorrect")


@pytest.mark.shows("ssh refuses another key", by="boot")
def test_ssh_refuses_another_key(guest: Guest, tmp_path: Path) -> None:
    make_key(tmp_path / "other")
    with pytest.raises(CommandError, match="255"):
        Shell(port=guest.shell.port, key=tmp_path / "other").run("true")


@pytest.mark.shows("Login and copies over ssh with the key of files:", by="boot")
def test_files_are_copied_over_ssh(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"a\0b" * 100_000)
    guest.shell.copy(tmp_path / "file", "/tmp/file")
    assert guest.run("wc -c < /tmp/file").strip() == "300000"


def test_machine_itself_has_tools_and_certificates(guest: Guest) -> None:
    guest.run("nsenter -t 1 -m -- /bin/sh -c 'grep -q CERTIFICATE /etc/ssl/certs/ca-certificates.crt'")


@pytest.mark.shows("A killed service is back within 2 s", by="boot")
def test_killed_service_is_back_within_two_seconds(guest: Guest) -> None:
    guest.machine.wait_http(guest.web_port)
    guest.run("kill -9 $(pidof nginx)")
    assert guest.machine.wait_http(guest.web_port, timeout_s=2)


def test_the_image_of_a_root_outlives_the_container(guest: Guest) -> None:
    place = "/containers/services/nginx/rootfs"
    assert guest.run(f"ls {place}.squashfs")
    mounts = [line.split() for line in guest.run("cat /proc/self/mountinfo").splitlines()]
    found = [line[line.index("-") + 1] for line in mounts if line[4] == place]
    assert found
    assert set(found) == {"squashfs"}


@pytest.mark.shows("poweroff inside ends moby run with status 0", by="boot")
def test_poweroff_over_ssh_ends_the_machine_with_status_0(guest: Guest) -> None:
    guest.run("poweroff")
    assert guest.machine.wait(30) == 0
