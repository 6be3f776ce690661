"""A running machine: wait for it, talk to it, stop it, and learn how it ended.

Exit status: 0 the guest powered off or asked to reboot (machines are not restarted), 3 its kernel panicked, 4 QEMU
failed, 5 Secure Boot refused what there is to start, 137 it was killed, 143 somebody sent QEMU a signal. QEMU itself
says 0 to most of these, so the status comes from its SHUTDOWN and GUEST_PANICKED events. A kernel that panics before it
has loaded its pvpanic driver only resets: then the end of the console tells. Firmware that refuses waits forever:
whoever waits for the machine then ends it, when the beginning of the console tells.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from moby import log
from moby.errors import CommandError, PlatformError
from moby.machines import firmware, page, ready
from moby.machines.child import Process
from moby.machines.options import LOOPBACK, Publish
from moby.machines.qmp import Monitor

PANIC, QEMU_FAILED, REFUSED, KILLED, SIGNALLED = 3, 4, 5, 137, 143
_REASONS: Mapping[str, int] = {
    "guest-shutdown": 0,
    "guest-reset": 0,
    "subsystem-reset": 0,
    "host-ui": 0,
    "guest-panic": PANIC,
    "host-error": QEMU_FAILED,
    "host-qmp-quit": KILLED,
    "host-signal": SIGNALLED,
}
MEANINGS: Mapping[int, str] = {
    0: "the guest powered off",
    PANIC: "its kernel panicked",
    QEMU_FAILED: "QEMU failed",
    REFUSED: "Secure Boot refused it",
    KILLED: "it was killed",
    SIGNALLED: "QEMU got a signal",
}
# The others, such as RESUME and POWERDOWN, come from machines that go on.
_TELL_THE_END = ("SHUTDOWN", "GUEST_PANICKED")
_PANIC_TEXT = re.compile(rb"^(?:\[[ .0-9]+\] )?Kernel panic - not syncing", re.MULTILINE)
_TAIL_BYTES = 64 << 10
_DRAIN_S = 5
_QUIT_S = 2
_LOOK_EVERY_S = 0.25
_POWERDOWN_EVERY_S = 1.0
_POLL_S = 0.1


class Console:
    """What the guest said on its first serial port, as QEMU keeps it in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def tail(self, limit_bytes: int = _TAIL_BYTES) -> bytes:
        """The last bytes said, at most ``limit_bytes``; empty before QEMU has made the file."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(max(0, self.path.stat().st_size - limit_bytes))
                return stream.read(limit_bytes)
        except FileNotFoundError:
            return b""

    def head(self, limit_bytes: int) -> bytes:
        """The first bytes said, at most ``limit_bytes``; empty before QEMU has made the file."""
        try:
            with self.path.open("rb") as stream:
                return stream.read(limit_bytes)
        except FileNotFoundError:
            return b""

    def text(self, limit_bytes: int = 16 << 20) -> str:
        """Everything said (the last ``limit_bytes`` of it), line ends as on this host."""
        return self.tail(limit_bytes).decode(errors="replace").replace("\r\n", "\n")


class Machine:
    """A started machine; use it as a context manager: leaving it stops it, unless it is detached.

    ``published`` are the host's ports, ``console`` what the guest said. ``terminal`` is the console's live connection
    when the machine was started attached: whoever has it must read it, or the guest waits. With ``secure_boot`` its
    firmware may refuse to start anything. ``note_end`` is told the exit status, unless that is a guess.
    """

    def __init__(
        self,
        *,
        name: str,
        process: Process,
        monitor: Monitor | None,
        console: Console,
        published: tuple[Publish, ...] = (),
        terminal: socket.socket | None = None,
        qemu_log: Path | None = None,
        detached: bool = False,
        stop_timeout_s: float = 10,
        secure_boot: bool = False,
        note_end: Callable[[int], None] = lambda status: None,
    ) -> None:
        self.name = name
        self.console = console
        self.published = published
        self.terminal = terminal
        self.detached = detached
        self._process = process
        self._monitor = monitor
        self._qemu_log = qemu_log
        self._stop_timeout_s = stop_timeout_s
        self._status: int | None = None
        self._killed: int | None = None
        self._may_refuse = secure_boot
        self._note_end = note_end
        self._ending = threading.Lock()

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status as the module's text says, None while it runs."""
        return self.wait(0) if self._status is None else self._status

    def wait(self, timeout_s: float | None = None) -> int | None:
        """Wait for the machine's end and return its exit status, or None when ``timeout_s`` passed first."""
        if self._status is None and self._ended(timeout_s):
            with self._ending:
                if self._status is None:
                    self._status = self._find_status()
        return self._status

    def _ended(self, timeout_s: float | None) -> bool:
        """Wait for QEMU's end, and bring it about when the firmware refuses; False when ``timeout_s`` passed first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self._may_refuse:
            self._look_for_refusal()
            left = _LOOK_EVERY_S if deadline is None else min(_LOOK_EVERY_S, max(0, deadline - time.monotonic()))
            if self._process.wait(left):
                return True
            if deadline is not None and time.monotonic() >= deadline:
                return False
        return self._process.wait(None if deadline is None else max(0, deadline - time.monotonic()))

    def _look_for_refusal(self) -> None:
        """End a machine whose firmware says that it starts nothing."""
        said = self.console.head(firmware.HEAD_BYTES)
        names = firmware.refused(said)
        with self._ending:
            if names and self._may_refuse:
                fix = "sign it with a key that is enrolled: moby build --sign-key KEY --sign-cert CERTIFICATE"
                log.error(f"{self.name}: Secure Boot: the firmware denies access to {', '.join(names)} ({fix})")
                self._killed = REFUSED
                self._process.kill()
            self._may_refuse = self._may_refuse and not names and len(said) < firmware.HEAD_BYTES

    def _find_status(self) -> int:
        if self._killed is not None:
            self._note_end(self._killed)
            return self._killed
        events: tuple[Mapping[str, Any], ...] = ()
        if self._monitor is not None:
            self._monitor.join(_DRAIN_S)
            events = self._monitor.events
        status = exit_status(events, self._process.returncode, self.console.tail(), detached=self.detached)
        if status == QEMU_FAILED:
            log.error(f"QEMU failed: {self.said_by_qemu() or 'it said nothing'}")
        told = any(event["event"] in _TELL_THE_END for event in events)
        if told or status or not self.detached:
            self._note_end(status)
        return status

    def said_by_qemu(self) -> str:
        """The last lines QEMU itself wrote, joined."""
        if self._qemu_log is None or not self._qemu_log.exists():
            return ""
        lines = self._qemu_log.read_text(errors="replace").strip().splitlines()
        return "; ".join(lines[-4:])

    def execute(self, command: str, **arguments: object) -> object:
        """Run a QMP command. Raises ``PlatformError`` when QEMU is gone or refuses."""
        if self._monitor is None:
            raise PlatformError("this machine has no monitor", where=self.name)
        return self._monitor.execute(command, **arguments)

    def stop(self, timeout_s: float | None = None, *, hurry: Callable[[], bool] = lambda: False) -> int:
        """Press the power button until the guest powers off, then return the exit status.

        It is killed after ``timeout_s`` (None: as its options say), or as soon as ``hurry()``.
        """
        limit_s = self._stop_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit_s
        press_at = 0.0
        while (now := time.monotonic()) < deadline and not hurry():
            if now >= press_at:  # again and again: a guest that is still starting misses the first
                press_at = now + _POWERDOWN_EVERY_S
                with contextlib.suppress(PlatformError):  # it may just have ended
                    self.execute("system_powerdown")
            status = self.wait(min(_POLL_S, deadline - now))
            if status is not None:
                return status
        if not hurry():
            log.info(f"{self.name} did not power off in {limit_s:g} s: killed")
        return self.kill()

    def kill(self, status: int = KILLED) -> int:
        """End the machine at once, like pulling its plug, and return its exit status: ``status`` if it still ran."""
        if self._status is None and not self._process.wait(0):
            self._killed = status
            if not (self.detached and self._quits()):
                self._process.kill()
        return self.wait() or 0

    def _quits(self) -> bool:
        """Whether a QEMU that is not our child ends when it is told to: no process id has to be trusted then."""
        try:
            self.execute("quit")
        except PlatformError:
            return False
        return self._process.wait(_QUIT_S)

    def wait_console(self, text: str, timeout_s: float = 60) -> None:
        """Wait until ``text`` stands on the console. Raises ``PlatformError`` when time is up or the machine ended."""
        deadline = time.monotonic() + timeout_s
        wanted = text.encode()
        while True:
            ended = self.status  # asked first: what was said until the end counts
            if wanted in self.console.tail(1 << 20):
                return
            self._check_alive(deadline, f"{text!r} on the console", timeout_s, ended=ended)
            time.sleep(0.05)

    def wait_http(self, port: int, *, path: str = "/", timeout_s: float = 60) -> bytes:
        """Wait until the host's ``port`` answers HTTP 200 and return the page (its first MiB).

        Raises ``PlatformError`` when time is up or the machine ended.
        """
        deadline = time.monotonic() + timeout_s
        address = next((ready.host_address(item) for item in self.published if item.host_port == port), LOOPBACK)

        def check() -> None:
            self._check_alive(deadline, f"port {port}", timeout_s, ended=self.status)

        return page.first(address, port, path, check)

    def wait_ports(self, timeout_s: float = 60) -> None:
        """Wait until the guest takes connections on all TCP ports that are published.

        Raises ``PlatformError`` when time is up, the machine ended, or there is no such port.
        """
        deadline = time.monotonic() + timeout_s
        ports = [each for each in self.published if each.protocol == "tcp"]
        if not ports:
            raise PlatformError("there is no TCP port to wait for", where=self.name, fix="publish one when it is run")

        def usernet() -> str:
            try:
                return str(self.execute("human-monitor-command", **{"command-line": "info usernet"}))
            except PlatformError:
                if self.wait(_QUIT_S) is None:
                    raise
                return ""

        def check(ports: Sequence[Publish]) -> None:
            what = f"port {', '.join(str(each.host_port) for each in ports)}"
            self._check_alive(deadline, what, timeout_s, ended=self.status)

        ready.wait(ports, usernet, check)

    def _check_alive(self, deadline: float, what: str, timeout_s: float, *, ended: int | None) -> None:
        if ended is None and time.monotonic() < deadline:
            return
        why = f"no answer within {timeout_s:g} s" if ended is None else f"the machine ended with status {ended}"
        last = "".join(f"\n  {line}" for line in self.console.text(4096).strip().splitlines()[-5:])
        raise PlatformError(f"waiting for {what}: {why}; the console's last lines:{last}", where=self.name)

    def close(self) -> None:
        """Give up this handle; the machine goes on."""
        if self._monitor is not None:
            self._monitor.close()
        if self.terminal is not None:
            self.terminal.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self.detached:
                return
            if kind is None:
                self.stop()
            else:
                self.kill()
        finally:
            self.close()


def exit_status(
    events: tuple[Mapping[str, Any], ...], returncode: int | None, tail: bytes, *, detached: bool = False
) -> int:
    """The exit status for QEMU's events, its own exit status and the end of the console (see the module's text)."""
    reasons = [event["data"].get("reason", "") for event in events if event["event"] == "SHUTDOWN"]
    reason = reasons[-1] if reasons else None
    if any(event["event"] == "GUEST_PANICKED" for event in events):
        return PANIC
    if reason in ("guest-reset", None) and panicked(tail) and (detached or returncode == 0):
        return PANIC
    if reason is None:
        return 0 if detached else QEMU_FAILED
    if returncode:
        return QEMU_FAILED
    return _REASONS.get(reason, QEMU_FAILED)


def panicked(tail: bytes) -> bool:
    """Whether the end of a console tells of a panic."""
    return _PANIC_TEXT.search(tail) is not None


def start_failure(said: str) -> CommandError:
    """The error for a QEMU that ended before it gave its greeting; its ``status`` is that of a failed QEMU."""
    return CommandError(f"QEMU did not start: {said or 'it said nothing'}", status=QEMU_FAILED)
