"""Starting machines with a QEMU that boots nothing (tests/boot has the real one)."""

from __future__ import annotations

import functools
import io
import os
import signal
import socket
import threading
from collections.abc import Callable
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

import moby
from moby import log
from moby.artifact import Architecture
from moby.context import Context
from moby.errors import CommandError, ConfigError, MobyError, PlatformError
from moby.machines import MACHINES, qemu, state, terminal
from moby.machines.child import Detached
from moby.machines.machine import REFUSED, Console, Machine
from moby.machines.options import BootKind, Disk, Publish, RunOptions
from moby.machines.qmp import Monitor
from moby.machines.state import State
from moby.machines.toolset import Toolset
from tests.support import fake_qemu
from tests.support.guests import POWER_OFF, prefix

TCG = RunOptions(accelerator="tcg")


class Host:
    """A directory with an image, and a fake QEMU to run it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.image = prefix(directory, POWER_OFF, name="web")
        self.context = Context(store=directory / "store", work=directory / "work")
        self.tools: Toolset | None = None

    def run(self, options: RunOptions = TCG, **behaviour: object) -> Machine:
        self.tools = fake_qemu.install(self.directory / "bin", **behaviour)  # type: ignore[arg-type]  # passed through
        return MACHINES["qemu"](self.image, options, self.context, find_qemu=self.find)

    def find(self, architecture: Architecture) -> Toolset:
        assert architecture is Architecture.AMD64
        assert self.tools is not None
        return self.tools

    @property
    def words(self) -> list[str]:
        assert self.tools is not None
        return fake_qemu.recorded(self.tools)

    def foreground(self, options: RunOptions = TCG, **behaviour: object) -> tuple[int, str]:
        self.tools = fake_qemu.install(self.directory / "bin", **behaviour)  # type: ignore[arg-type]  # passed through
        out = io.BytesIO()
        with Path(os.devnull).open("rb") as stdin:
            status = terminal.run_foreground(
                self.image, options, self.context, find_qemu=self.find, stdin=stdin, stdout=out
            )
        return status, out.getvalue().decode()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("behaviour", "status"),
    [
        ({"ends": "guest-shutdown"}, 0),
        ({"ends": "guest-reset"}, 0),
        ({"ends": "guest-reset", "says": "x\nKernel panic - not syncing: Attempted to kill init!\n"}, 3),
        ({"ends": "guest-reset", "says": "[    1.5] Kernel panic - not syncing: VFS\n"}, 3),
        ({"ends": "guest-reset", "says": "he said: Kernel panic - not syncing\n"}, 0),
        ({"ends": "guest-panic", "panics": True}, 3),
        ({"ends": "host-signal"}, 143),
        ({"ends": "host-qmp-quit"}, 137),
        ({"ends": "something-new"}, 4),
    ],
)
def test_status_comes_from_the_reason(host: Host, behaviour: dict[str, object], status: int) -> None:
    with host.run(TCG, **behaviour) as machine:
        assert machine.wait(10) == status
        assert machine.wait() == machine.status == status


def test_machine_that_runs_has_no_status(host: Host) -> None:
    with host.run() as machine:
        assert machine.status is None
        assert machine.wait(0.01) is None
        assert machine.execute("query-status") == {}
        os.kill(machine.pid, 0)
    assert machine.status == 0
    assert not state.is_running(host.directory / "web-state")


def test_monitor_of_a_machine_that_ended_refuses(host: Host) -> None:
    with host.run(ends="guest-shutdown") as machine:
        machine.wait()
        with pytest.raises(PlatformError, match="QEMU"):
            machine.execute("query-status")


def test_refused_command_is_told(host: Host) -> None:
    with host.run() as machine, pytest.raises(PlatformError, match="no such command"):
        machine.execute("make-coffee")


def test_block_left_by_an_error_kills(host: Host) -> None:
    with pytest.raises(RuntimeError), host.run(ends="deaf") as machine:
        raise RuntimeError
    assert machine.status == 137


def test_guest_that_does_not_power_off_is_killed(host: Host) -> None:
    with host.run(ends="deaf") as machine:
        assert machine.stop(0.2) == 137


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


def test_detached_machine_is_found_stopped_and_forgotten(host: Host) -> None:
    machine = host.run(RunOptions(accelerator="tcg", detach=True, name="db"), says="hello\n")
    machine.close()
    facts = state.find("db", host.context.work)
    assert facts.pid == machine.pid
    assert facts.detached
    os.kill(machine.pid, signal.SIGKILL)
    assert machine.wait(10) == 0
    assert state.running(host.context.work) == ()


@pytest.mark.parametrize(("ends", "status"), [("hang", 0), ("deaf", 137)])
def test_whoever_stops_a_machine_keeps_its_exit_status(host: Host, ends: str, status: int) -> None:
    host.run(RunOptions(accelerator="tcg", detach=True, name="db"), ends=ends).close()
    facts = state.find("db", host.context.work)
    directory = host.directory / "web-state"
    machine = Machine(
        name="db",
        process=Detached(facts.pid, directory),
        monitor=None,
        console=Console(directory / "console.log"),
        note_end=functools.partial(state.note_end, directory, facts.pid),
    )
    assert machine.kill(status) == status
    assert state.exit_status(facts) == status


def test_an_exit_status_is_not_guessed(host: Host) -> None:
    machine = host.run(RunOptions(accelerator="tcg", detach=True, name="db"))
    machine.close()
    facts = state.find("db", host.context.work)
    os.kill(machine.pid, signal.SIGKILL)
    machine.wait(10)
    assert state.exit_status(facts) is None
    with host.run(ends="guest-panic", panics=True) as child:
        child.wait(10)
    (ended,) = [facts for facts, runs in state.known(host.context.work) if not runs]
    assert state.exit_status(ended) == 3


@pytest.mark.parametrize("commands", [(), ("system_powerdown",)], ids=["RESUME", "POWERDOWN"])
def test_what_a_machine_says_that_goes_on_tells_nothing_about_its_end(host: Host, commands: tuple[str, ...]) -> None:
    machine = host.run(RunOptions(accelerator="tcg", detach=True, name="db"), ends="deaf")
    facts = state.find("db", host.context.work)
    for command in (*commands, "query-status"):  # whose answer comes after the events
        machine.execute(command)
    os.kill(machine.pid, signal.SIGKILL)
    machine.wait(10)
    machine.close()
    assert state.exit_status(facts) is None


def test_killing_a_detached_machine_takes_its_process_id(host: Host) -> None:
    machine = host.run(RunOptions(accelerator="tcg", detach=True), ends="deaf")
    assert machine.kill() == 137
    machine.close()
    assert not state.is_running(host.directory / "web-state")


def test_detached_machine_is_told_to_quit_before_its_process_id_is_taken(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = host.run(RunOptions(accelerator="tcg", detach=True))
    monkeypatch.delattr(Detached, "kill")
    assert machine.kill() == 137
    machine.close()
    assert not state.is_running(host.directory / "web-state")


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


def test_console_is_waited_for_and_an_early_end_is_told(host: Host) -> None:
    with host.run(says="first\nlogin: ") as machine:
        machine.wait_console("login:", 5)
        assert machine.console.text() == "first\nlogin: "
        with pytest.raises(PlatformError, match=r"no answer within 0\.1 s.*\n  first\n  login:"):
            machine.wait_console("never", 0.1)
    early = pytest.raises(PlatformError, match=r"the machine ended with status 0.*\n  oops")
    with host.run(says="oops\n", ends="guest-shutdown") as machine, early:
        machine.wait_console("never")


class LastWords:
    """A process that ends once somebody has looked at it, with a word."""

    pid, returncode = 1, 0

    def __init__(self, console: Path) -> None:
        self._console = console
        self._seen = False

    def wait(self, timeout_s: float | None = None) -> bool:
        if self._seen:
            self._console.write_text("done")
        self._seen, ended = True, self._seen
        return ended

    def kill(self) -> None:
        raise AssertionError("it ends by itself")


def test_last_words_are_what_was_waited_for(tmp_path: Path) -> None:
    console = tmp_path / "console"
    machine = Machine(name="x", process=LastWords(console), monitor=None, console=Console(console))
    machine.wait_console("done", 5)
    assert machine.status is not None


class Late(BaseHTTPRequestHandler):
    """Not ready at first: closes without a word, then says 503, then the page."""

    tries = 0

    def do_GET(self) -> None:
        type(self).tries += 1
        if self.tries == 1:
            self.close_connection = True
            return
        self.send_response(503 if self.tries == 2 else 200)
        self.end_headers()
        self.wfile.write(b"the page")

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_page_is_waited_for_through_false_starts(host: Host) -> None:
    server = HTTPServer(("127.0.0.1", 0), Late)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with host.run() as machine:
            assert machine.wait_http(server.server_port, timeout_s=10) == b"the page"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert Late.tries == 3


def test_page_of_a_silent_guest_is_given_up(host: Host) -> None:
    server = socket.create_server(("127.0.0.1", 0))  # accepts, as QEMU's forward does
    with server, host.run() as machine, pytest.raises(PlatformError, match="no answer within"):
        machine.wait_http(server.getsockname()[1], timeout_s=0.2)


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


def test_foreground_shows_the_console_with_plain_line_ends(host: Host) -> None:
    assert host.foreground(ends="guest-shutdown", says="one\ntwo\n") == (0, "one\ntwo\n")


def test_foreground_reports_a_qemu_that_does_not_start(host: Host) -> None:
    assert host.foreground(fails="bad kernel") == (4, "")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_in_the_foreground_stops_the_machine(host: Host, number: signal.Signals) -> None:
    before = signal.getsignal(number)
    sender = threading.Timer(0.5, os.kill, (os.getpid(), number))
    sender.start()
    status, shown = host.foreground(says="up\n")
    sender.join()
    assert (status, shown) == (128 + number, "up\n")
    assert signal.getsignal(number) is before
    assert not state.is_running(host.directory / "web-state")


def test_nobody_reading_stdout_stops_the_machine(host: Host) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    host.tools = fake_qemu.install(host.directory / "bin", says="anybody?\n")
    with Path(os.devnull).open("rb") as stdin, os.fdopen(writer, "wb", buffering=0) as out:
        status = terminal.run_foreground(host.image, TCG, host.context, find_qemu=host.find, stdin=stdin, stdout=out)
    assert status == 129


def test_full_disk_behind_stdout_stops_the_machine(host: Host) -> None:
    host.tools = fake_qemu.install(host.directory / "bin", says="anybody?\n")
    with Path(os.devnull).open("rb") as stdin, Path("/dev/full").open("wb", buffering=0) as out:
        status = terminal.run_foreground(host.image, TCG, host.context, find_qemu=host.find, stdin=stdin, stdout=out)
    assert status == 129
    assert not state.is_running(host.directory / "web-state")


def test_guest_never_waits_for_a_stdout_that_fails() -> None:
    ours, guests = socket.socketpair()

    def talk() -> None:
        with guests:
            guests.sendall(bytes(4 << 20))

    guest = threading.Thread(target=talk)
    with terminal.Signals() as signals, ours, Path("/dev/full").open("wb", buffering=0) as out:
        guest.start()
        terminal._show(ours, out)
    guest.join()
    assert signals.seen == [signal.SIGHUP]


def test_fault_in_the_tool_leaves_no_machine(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(machine: Machine, signals: terminal.Signals) -> int:
        raise RuntimeError

    monkeypatch.setattr(terminal, "_wait", fail)
    with pytest.raises(RuntimeError):
        host.foreground(ends="deaf")
    assert not state.is_running(host.directory / "web-state")


@pytest.mark.parametrize(
    ("typed", "passed", "leave"),
    [
        ([b"abc"], b"abc", False),
        ([b"a\x01", b"cb"], b"a\x03b", False),
        ([b"\x01\x01"], b"\x01", False),
        ([b"\x01z"], b"\x01z", False),
        ([b"ab\x01xcd"], b"ab", True),
    ],
)
def test_escape_sequences_are_taken_out_of_what_is_typed(typed: list[bytes], passed: bytes, leave: bool) -> None:
    keys = terminal.Keys()
    fed = [keys.feed(chunk) for chunk in typed]
    assert b"".join(chunk for chunk, _ in fed) == passed
    assert fed[-1][1] is leave


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
