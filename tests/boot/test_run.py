"""Machines under the real QEMU: how they end, how they are stopped, that nothing is left behind."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby.artifact import Architecture
from moby.cli import main as cli
from moby.context import Context
from moby.errors import CommandError, PlatformError
from moby.machines import qemu, state
from moby.machines.commandline import TCG, Virtual
from moby.machines.machine import PANIC, QEMU_FAILED
from moby.machines.options import BootKind, Disk, Publish, RunOptions
from moby.machines.probe import probe
from moby.machines.toolset import finder
from tests.support import guests
from tests.support.guests import HANG, POWER_OFF, RESET, WAIT_FOR_BUTTON, echo_until, prefix, say

pytestmark = pytest.mark.boot

ROOT = Path(__file__).parents[2]
EMULATED = RunOptions(accelerator=TCG, architecture=Architecture.AMD64)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(store=tmp_path / "store", work=tmp_path / "work")


def until(true: Callable[[], bool], timeout_s: float = 20) -> bool:
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Tool:
    """The tool in a process of its own, running a machine from ``tmp_path/guest``."""

    def __init__(self, directory: Path, *arguments: str, terminal: int | None = None) -> None:
        words = [sys.executable, "-m", "tests.support.run_machine", str(directory / "work"), str(directory / "guest")]
        self.directory = directory
        self.output = directory / "output"
        self.messages = directory / "messages"
        with self.output.open("wb") as output, self.messages.open("wb") as messages:
            self.process = subprocess.Popen(
                [*words, "--accelerator", TCG, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=messages,
                cwd=ROOT,
                preexec_fn=None if terminal is None else lambda: os.login_tty(terminal),
            )

    def wait_output(self, text: str) -> None:
        assert until(lambda: text in self.output.read_text()), self.messages.read_text()

    @property
    def machine_runs(self) -> bool:
        return state.is_running(self.directory / "guest-state")

    def end(self) -> int:
        return self.process.wait(30)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Tool]]:
    tools: list[Tool] = []

    def begin(*steps: bytes, arguments: tuple[str, ...] = (), terminal: int | None = None) -> Tool:
        prefix(tmp_path, *steps)
        tools.append(Tool(tmp_path, *arguments, terminal=terminal))
        return tools[-1]

    yield begin
    for tool in tools:
        if tool.process.poll() is None:
            tool.process.kill()
            tool.process.wait()


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        pytest.param((POWER_OFF,), 0, id="power-off"),
        pytest.param((RESET,), 0, id="reboot"),
        pytest.param((guests.PANIC,), PANIC, id="panic-device"),
        pytest.param((say("Kernel panic - not syncing: no root\n"), RESET), PANIC, id="panic-text"),
    ],
)
@pytest.mark.shows("The exit status says how the guest ended: power-off, panic, failure", by="boot")
def test_exit_status_says_how_the_guest_ended(
    start: Callable[..., Tool], steps: tuple[bytes, ...], status: int
) -> None:
    tool = start(say("hello\n"), *steps)
    assert tool.end() == status
    assert tool.output.read_bytes().startswith(b"hello\n")
    assert not tool.machine_runs


def test_unloadable_kernel_gives_the_status_of_a_failed_qemu(tmp_path: Path, start: Callable[..., Tool]) -> None:
    tool = start(POWER_OFF)
    tool.end()
    header = bytearray(4096)
    header[0x1F1], header[0x202:0x206] = 200, b"HdrS"  # names more sectors than there are
    (tmp_path / "guest-kernel").write_bytes(header)
    again = Tool(tmp_path)
    assert again.end() == QEMU_FAILED
    assert "QEMU did not start: qemu: invalid kernel header" in again.messages.read_text()


@pytest.mark.shows("No machine is left behind by a killed moby run", by="boot")
def test_killed_tool_leaves_no_machine(start: Callable[..., Tool]) -> None:
    tool = start(say("up\n"), HANG)
    tool.wait_output("up")
    assert tool.machine_runs
    tool.process.kill()
    assert tool.end() == -signal.SIGKILL
    assert until(lambda: not tool.machine_runs, 5)


@pytest.mark.shows("Ctrl-C powers the guest off", by="boot")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_powers_the_guest_off(start: Callable[..., Tool], number: signal.Signals) -> None:
    tool = start(say("up\n"), WAIT_FOR_BUTTON, say("good night\n"), POWER_OFF)
    tool.wait_output("up")
    tool.process.send_signal(number)
    assert tool.end() == 128 + number
    assert "good night" in tool.output.read_text()
    assert not tool.machine_runs


def test_guest_that_ignores_the_button_is_killed_in_time(start: Callable[..., Tool]) -> None:
    tool = start(say("up\n"), HANG, arguments=("--stop-timeout", "0.5"))
    tool.wait_output("up")
    tool.process.send_signal(signal.SIGINT)
    assert tool.end() == 130
    assert "did not power off in 0.5 s" in tool.messages.read_text()
    assert not tool.machine_runs


def test_second_interrupt_kills_at_once(start: Callable[..., Tool]) -> None:
    tool = start(say("up\n"), HANG, arguments=("--stop-timeout", "60"))
    tool.wait_output("up")
    tool.process.send_signal(signal.SIGINT)
    assert until(lambda: "once more" in tool.messages.read_text())
    tool.process.send_signal(signal.SIGINT)
    assert tool.end() == 130
    assert not tool.machine_runs


def test_busy_port_is_refused_before_qemu_starts(tmp_path: Path, start: Callable[..., Tool]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        tool = start(POWER_OFF, arguments=("--publish", f"{port}:80"))
        assert tool.end() == 1
    assert f"port {port}/tcp of 127.0.0.1 is in use" in tool.messages.read_text()
    assert not (tmp_path / "guest-state").exists()


class Terminal:
    """A pseudo-terminal with the tool on its other side."""

    def __init__(self) -> None:
        self.master, self.slave = os.openpty()
        self.seen = b""

    def wait(self, text: bytes) -> None:
        def found() -> bool:
            if select.select([self.master], [], [], 0.1)[0]:
                self.seen += os.read(self.master, 4096)
            return text in self.seen

        assert until(found), self.seen

    def type(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_keys_reach_the_guest_and_ctrl_c_stops_it(start: Callable[..., Tool], terminal: Terminal) -> None:
    tool = start(
        say("type\n"), echo_until("\x03"), say("<got it>\n"), WAIT_FOR_BUTTON, POWER_OFF, terminal=terminal.slave
    )
    terminal.wait(b"type\r")
    terminal.type(b"abc")
    terminal.wait(b"abc")
    terminal.type(b"\x01c")  # a Ctrl-C for the guest
    terminal.wait(b"<got it>")
    terminal.type(b"\x03")
    assert tool.end() == 130
    assert not tool.machine_runs


def test_escape_x_ends_the_machine_at_once(start: Callable[..., Tool], terminal: Terminal) -> None:
    tool = start(say("up\n"), HANG, terminal=terminal.slave)
    terminal.wait(b"up")
    terminal.type(b"\x01x")
    assert tool.end() == 130
    assert not tool.machine_runs


@pytest.mark.shows("Detached machines, moby ps and stop", by="boot")
def test_detached_machine_outlives_the_tool_and_is_stopped_by_name(
    tmp_path: Path, start: Callable[..., Tool], context: Context
) -> None:
    port = Publish(host_port=_free_port(), guest_port=80)
    arguments = ("--detach", "--publish", f"{port.host_port}:80")
    tool = start(say("up\n"), WAIT_FOR_BUTTON, say("good night\n"), POWER_OFF, arguments=arguments)
    assert tool.end() == 0
    facts = state.find("guest", context.work)
    assert facts.pid == int(tool.output.read_text())
    assert [facts.name for facts in state.running(context.work)] == ["guest"]
    machine = qemu.attach_to(facts)
    assert machine.published == (port,)
    machine.wait_console("up")
    assert machine.stop() == 0
    machine.close()
    assert "good night" in machine.console.text()
    assert state.running(context.work) == ()


@pytest.mark.shows("moby run --wait returns when the page is served", by="boot")
def test_the_page_is_served_at_once_when_waiting_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    port = _free_port()
    emulated = ["--accel", TCG, "--arch", "amd64", "--mem", "512"]
    assert cli.main(["init", "web"]) == 0
    name = f"web-{port}"
    try:
        assert cli.main(["run", "--wait", "-p", f"{port}:80", "--name", name, *emulated, "web.yml"]) == 0
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as answer:
            assert b"Hello" in answer.read()
    finally:
        cli.main(["stop", name])


def test_detached_machine_that_cannot_start_says_so(tmp_path: Path, context: Context) -> None:
    image = prefix(tmp_path, POWER_OFF)
    options = RunOptions(accelerator=TCG, detach=True, devices=("no-such-device",))
    with pytest.raises(CommandError, match="no-such-device"):
        qemu.run(image, options, context)
    assert not state.is_running(tmp_path / "guest-state")


def test_second_machine_of_one_state_directory_is_refused(tmp_path: Path, context: Context) -> None:
    image = prefix(tmp_path, HANG)
    machine = qemu.run(image, EMULATED, context)
    try:
        with pytest.raises(PlatformError, match="already runs"):
            qemu.run(image, EMULATED, context)
    finally:
        assert machine.kill() == 137
        machine.close()


def test_machine_is_stopped_when_its_block_is_left(tmp_path: Path, context: Context) -> None:
    image = prefix(tmp_path, say("up\n"), WAIT_FOR_BUTTON, POWER_OFF)
    with qemu.run(image, EMULATED, context) as machine:
        machine.wait_console("up")
        assert machine.status is None
    assert machine.status == 0


def test_qemu_takes_every_kind_of_device(tmp_path: Path, context: Context) -> None:
    image = prefix(tmp_path / "with, comma", say("hello\n"), POWER_OFF)
    options = RunOptions(
        cpus=2,
        memory_mib=256,
        accelerator=TCG,
        disks=(Disk(size_mib=4), Disk(path=tmp_path / "raw,disk", size_mib=4, format="raw")),
        publish=(
            Publish(host_port=_free_port(), guest_port=80),
            Publish(host_port=_free_port(), guest_port=53, protocol="udp"),
        ),
        data=b"hello",
        usb=True,
        devices=("virtio-balloon-pci",),
    )
    with qemu.run(image, options, context) as machine:
        assert machine.wait(30) == 0
    assert machine.console.text() == "hello\n"
    assert (tmp_path / "with, comma" / "guest-state" / "disk.img").read_bytes().startswith(b"QFI\xfb")
    assert (tmp_path / "raw,disk").stat().st_size == 4 << 20


def test_firmware_starts_from_a_disk_of_its_own_variables(tmp_path: Path, context: Context) -> None:
    disk = tmp_path / "empty.img"
    disk.write_bytes(bytes(1 << 20))
    options = RunOptions(accelerator=TCG, uefi=True, kind=BootKind.DISK, memory_mib=256)
    machine = qemu.run(disk, options, context)
    try:
        machine.wait_console("BdsDxe")
    finally:
        machine.kill()
        machine.close()
    assert (tmp_path / "empty.img-state" / "uefi-vars.fd").exists()


def test_probe_kernel_finishes_and_a_hopeless_one_is_given_up(context: Context) -> None:
    tools, virtual = finder(context)(Architecture.AMD64), Virtual(architecture=Architecture.AMD64)
    assert probe(virtual, tools, limit_s=20).works
    assert not probe(virtual, tools, limit_s=0.001).works


def test_chosen_accelerator_runs_a_guest(tmp_path: Path, context: Context) -> None:
    with qemu.run(prefix(tmp_path, say("up\n"), POWER_OFF), RunOptions(), context) as machine:
        assert machine.wait(30) == 0
    assert machine.console.text() == "up\n"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port
