"""What a started machine can be told and asked: its status, its end, its console, its pages (with a fake QEMU)."""

from __future__ import annotations

import functools
import os
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from moby.errors import PlatformError
from moby.machines import state
from moby.machines.child import Detached
from moby.machines.machine import Console, Machine
from moby.machines.options import RunOptions
from tests.support.fake_host import TCG, Host


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
