"""Whether the guest answers, with a monitor that says what it is told to."""

from __future__ import annotations

import resource
import socket
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import pytest

from moby.cli import main as cli
from moby.cli import run
from moby.errors import PlatformError
from moby.machines import ready
from moby.machines.machine import PANIC, Console, Machine
from moby.machines.options import Publish
from moby.machines.qmp import Monitor

BOOTING = """\
Hub -1 (net0):\r
  Protocol[State]    FD  Source Address  Port   Dest. Address  Port RecvQ SendQ\r
  TCP[SYN_SENT]      94       127.0.0.1 HOST       10.0.2.15    80     0     0\r
  TCP[ESTABLISHED]   17       10.0.2.15  HOST  93.184.215.14    80     0     0\r
  TCP[HOST_FORWARD]  15       127.0.0.1  HOST       10.0.2.15    80     0     0\r
  UDP[HOST_FORWARD]  13       127.0.0.1  HOST       10.0.2.15    80     0     0\r
"""
UP = BOOTING + "  TCP[ESTABLISHED]   96       127.0.0.1 HOST       10.0.2.15    80     0     0\r\n"


@pytest.fixture
def port() -> Iterator[Publish]:
    """A port that accepts and says nothing, as QEMU's forward does."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield Publish(host_port=server.getsockname()[1], guest_port=80)


def usernet(text: str, port: Publish) -> str:
    return text.replace("HOST", str(port.host_port)).replace(f"{port.host_port}_FORWARD", "HOST_FORWARD")


class Guest:
    """Process and monitor of a machine: it answers when it was asked ``answers`` times, or ends before that."""

    pid, returncode = 1, 0

    def __init__(
        self,
        port: Publish,
        *,
        answers: int = 1 << 30,
        ends: int = 1 << 30,
        deaf: bool = False,
        reason: str = "guest-panic",
    ) -> None:
        self._port, self._answers, self._ends, self._deaf = port, answers, ends, deaf
        self.events = ({"event": "SHUTDOWN", "data": {"reason": reason}},)
        self.asked: list[str] = []

    def wait(self, timeout_s: float | None = None) -> bool:
        return len(self.asked) >= self._ends

    def execute(self, command: str, **arguments: object) -> object:
        self.asked.append(f"{command} {arguments['command-line']}")
        if self._deaf or len(self.asked) >= self._ends:
            raise PlatformError("QEMU is gone")
        return usernet(UP if len(self.asked) >= self._answers else BOOTING, self._port)

    def kill(self) -> None:
        raise AssertionError("nobody asked for it")

    def join(self, timeout_s: float) -> None:
        """It has nothing more to say."""

    def machine(self, directory: Path) -> Machine:
        (directory / "console.log").write_text("Welcome\n")
        return Machine(
            name="web",
            process=self,
            monitor=cast(Monitor, self),
            console=Console(directory / "console.log"),
            published=(self._port, Publish(host_port=1, guest_port=53, protocol="udp")),
            detached=True,
        )


@pytest.mark.parametrize(
    ("state", "answers"),
    [
        *(("HOST_FORWARD", False), ("SYN_SENT", False), ("SYN_RECEIVED", False), ("CLOSED", False), ("NONE", False)),
        *(("ESTABLISHED", True), ("CLOSE_WAIT", True), ("FIN_WAIT_2", True)),
    ],
)
def test_a_connection_beyond_the_handshake_is_an_answer(port: Publish, state: str, answers: bool) -> None:
    said = usernet(UP.replace("ESTABLISHED]   96", f"{state}]   96"), port)
    assert bool(ready.answered(said)) is answers


def test_connections_of_the_guest_and_on_other_ports_are_no_answer(port: Publish) -> None:
    assert ready.answered(usernet(BOOTING, port)) == frozenset()
    assert ready.answered(usernet(UP, port)) == {(port.host_port, 80)}


def test_a_port_that_only_qemu_accepts_is_waited_for(port: Publish, tmp_path: Path) -> None:
    guest = Guest(port, answers=3)
    guest.machine(tmp_path).wait_ports(10)
    assert guest.asked == 3 * ["human-monitor-command info usernet"]


def test_every_port_is_waited_for(port: Publish) -> None:
    closed = Publish(host_port=port.host_port, guest_port=81)
    told: list[Sequence[Publish]] = []

    def go_on(ports: Sequence[Publish]) -> None:
        told.append(ports)
        if len(told) == 2:
            raise PlatformError("enough")

    with pytest.raises(PlatformError, match="enough"):
        ready.wait([port, closed], lambda: usernet(UP, port), go_on)
    assert told == 2 * [[closed]]


@pytest.mark.parametrize(
    ("guest", "timeout_s", "said"),
    [
        ({}, 0.1, "no answer within 0.1 s"),
        ({"ends": 2, "reason": "guest-shutdown"}, 10, "the machine ended with status 0"),
        ({"deaf": True}, 10, "QEMU is gone"),
    ],
)
def test_a_guest_that_does_not_answer_is_told_with_what_to_do(
    port: Publish, tmp_path: Path, guest: dict[str, object], timeout_s: float, said: str
) -> None:
    machine = Guest(port, **guest).machine(tmp_path)  # type: ignore[arg-type]  # passed through
    with pytest.raises(PlatformError) as caught:
        run.wait(machine, timeout_s)
    assert said in str(caught.value)
    assert caught.value.fix == (
        "moby logs web" if "ended" in said else "moby logs web; it still runs, moby stop web ends it"
    )


def test_waiting_for_a_guest_that_panics_gives_its_exit_status(
    port: Publish, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run.wait(Guest(port, answers=2).machine(tmp_path), 10) == 0
    assert run.wait(Guest(port, ends=2).machine(tmp_path), 10) == PANIC
    said = capsys.readouterr().err
    assert "the machine ended with status 3; the console's last lines:\n  Welcome" in said
    assert "fix: moby logs web\n" in said


def test_connections_are_closed_when_their_time_is_over(port: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ready, "_INTERVAL_S", 0.001)
    monkeypatch.setattr(ready, "_PATIENCE_S", 0)
    made: list[weakref.ref[socket.socket]] = []
    connection = ready._connection

    def counted(port: Publish) -> socket.socket:
        one = connection(port)
        made.append(weakref.ref(one))
        return one

    monkeypatch.setattr(ready, "_connection", counted)

    def go_on(ports: Sequence[Publish]) -> None:
        assert len([one for one in made if one() is not None]) <= 2, "those that are closed are kept"
        if len(made) == 9:
            raise PlatformError("enough")

    with pytest.raises(PlatformError, match="enough"):
        ready.wait([port], lambda: usernet(BOOTING, port), go_on)


def test_a_host_without_sockets_is_told(port: Publish) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(PlatformError, match=f"cannot connect to port {port.host_port}: Too many open files"):
            ready.wait([port], lambda: usernet(UP, port), lambda ports: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--wait-timeout", "5"], "nothing is waited for without --wait\n  fix: add --wait"),
        *((["--wait", "--wait-timeout", text], f"{text} is no time to wait") for text in ("0", "nan", "inf", "-1")),
    ],
    ids=lambda value: value[-1],
)
def test_a_time_that_cannot_be_waited_is_refused(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", *words, "--publish", "8080:80", "absent.yml"]) == 1
    assert f"--wait-timeout: {said}" in capsys.readouterr().err


def test_an_address_of_all_is_reached_on_this_host() -> None:
    for given, reached in (("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("192.0.2.1", "192.0.2.1")):
        assert ready.host_address(Publish(host_port=1, guest_port=1, address=given)) == reached


@pytest.mark.parametrize("words", [[], ["--publish", "5353:53/udp"]], ids=["none", "udp"])
def test_waiting_needs_a_tcp_port_and_says_so_before_it_builds(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "--wait", *words, "absent.yml"]) == 1
    assert "--wait: there is no TCP port to wait for" in capsys.readouterr().err


@pytest.mark.parametrize("network", ["none", "tap,tap0", "bridge,br0"])
def test_waiting_needs_a_network_that_leads_to_the_guest(network: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", "--wait", "--networking", network, "absent.yml"]) == 1
    kind = network.partition(",")[0]
    assert f"--wait: with --networking {kind} no port leads to the guest" in capsys.readouterr().err


def test_a_machine_without_ports_is_not_taken_for_one_that_answers(port: Publish, tmp_path: Path) -> None:
    machine = Guest(port).machine(tmp_path)
    machine.published = machine.published[1:]
    with pytest.raises(PlatformError, match="web: there is no TCP port to wait for"):
        machine.wait_ports(10)


def test_waiting_runs_in_the_background() -> None:
    _, arguments = cli.parse(["run", "--wait", "web.yml"])
    assert run.options_from(arguments).detach
