"""The state directory of a machine (``NAME-state``) and the list of machines, of those that ended the last hundred.

``lock`` is held by QEMU itself, which inherits the descriptor: as long as it is locked the machine runs, whatever
happened to the tool, and no process id has to be trusted. ``mac-addr`` stays, so that a machine keeps its address;
disks, UEFI variables and what a TPM keeps stay too. The rest is made anew on each run, and stays until then:

    lock mac-addr qemu.pid qmp.sock console.sock console.log qemu.log machine.json exit-status data.iso uefi-vars.fd
    disk*.img tpm/ swtpm.log
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from moby.errors import PlatformError

_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")
_UNIX_PATH_LIMIT = 100  # sun_path holds 104 (macOS) or 108 bytes (Linux)
_CLAIM_TRIES, _CLAIM_PAUSE_S = 5, 0.02
_ENDED_KEPT = 100
_VOLATILE = ("qemu.pid", "qmp.sock", "console.sock", "console.log", "qemu.log", "machine.json", "exit-status")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What ``moby ps`` tells of a machine; ``started_s`` is Unix time."""

    name: str
    state: str
    pid: int
    architecture: str
    cpus: int
    memory_mib: int
    publish: tuple[str, ...]
    started_s: int
    detached: bool


class State:
    """A claimed state directory; ``release`` gives this process's hold on it up."""

    def __init__(self, directory: Path, lock: int) -> None:
        self.directory = directory
        self.lock = lock
        self.pidfile = directory / "qemu.pid"
        self.console_log = directory / "console.log"
        self.qemu_log = directory / "qemu.log"

    @classmethod
    def claim(cls, directory: Path) -> State:
        """Make ``directory`` and lock it. Raises ``PlatformError`` when a machine runs from it or it cannot be made."""
        directory = directory.absolute()
        try:
            directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise PlatformError(
                f"cannot make the state directory: {error.strerror}", where=str(directory), fix="give --state DIR"
            ) from error
        for _ in range(_CLAIM_TRIES):  # `is_running` shares the lock for a moment
            if _try_lock(lock, fcntl.LOCK_EX):
                with contextlib.ExitStack() as undo:
                    state = cls(directory, lock)
                    undo.callback(state.release)
                    state._clear()
                    undo.pop_all()
                return state
            time.sleep(_CLAIM_PAUSE_S)
        os.close(lock)
        raise PlatformError(
            "a machine already runs from this state directory",
            where=str(directory),
            fix="stop it (moby ps, moby stop NAME) or give --state DIR",
        )

    def _clear(self) -> None:
        for name in _VOLATILE:
            with _writing(self.directory / name):
                (self.directory / name).unlink(missing_ok=True)

    def release(self) -> None:
        """Let go of the lock; QEMU may still hold it."""
        if self.lock >= 0:
            os.close(self.lock)
            self.lock = -1

    def mac(self) -> str:
        """The machine's hardware address: the kept one, else a fresh locally administered unicast address.

        Raises ``PlatformError`` when it cannot be kept.
        """
        path = self.directory / "mac-addr"
        with contextlib.suppress(OSError):
            kept = path.read_text().strip().lower()
            if _MAC.fullmatch(kept):
                return kept
        octets = bytearray(secrets.token_bytes(6))
        octets[0] = (octets[0] | 0x02) & 0xFE
        mac = octets.hex(":")
        with _writing(path):
            path.write_text(mac)
            path.chmod(0o640)
        return mac

    def listen(self, name: str) -> socket.socket:
        """A listening UNIX socket in the directory, to be inherited by QEMU. Raises ``PlatformError``."""
        path = self.directory / name
        with contextlib.ExitStack() as undo:
            listener = undo.enter_context(socket.socket(socket.AF_UNIX))
            with _writing(path), _short(path) as address:
                listener.bind(address)
                path.chmod(0o600)
                listener.listen(4)
            undo.pop_all()
        return listener

    def record(self, facts: Facts, work: Path) -> None:
        """Write what ``moby ps`` shows, here and in the list of machines under ``work``. Raises ``PlatformError``."""
        told = self.directory / "machine.json"
        with _writing(told):
            _write(told, json.dumps(asdict(facts)))
        listed = work / "machines" / hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        with _writing(listed):
            listed.parent.mkdir(parents=True, exist_ok=True)
            _write(listed, str(self.directory))


def connect(path: Path, *, timeout_s: float = 5) -> socket.socket:
    """A connection to a UNIX socket in a state directory. Raises ``PlatformError`` when nobody listens."""
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(timeout_s)
    try:
        with _short(path) as address:
            client.connect(address)
    except OSError as error:
        client.close()
        raise PlatformError(f"the machine does not answer: {error}", where=str(path)) from error
    return client


def is_running(directory: Path) -> bool:
    """Whether a QEMU holds the directory's lock. Those who ask at the same time do not see each other."""
    with _asked(directory) as runs:
        return runs


def pid(directory: Path) -> int | None:
    """The process id that the QEMU of the directory wrote; None before it has."""
    try:
        return int((directory / "qemu.pid").read_text())
    except (FileNotFoundError, ValueError):
        return None


@contextlib.contextmanager
def _asked(directory: Path) -> Iterator[bool]:
    """Whether a machine runs; while the block of a "no" runs, none starts."""
    try:
        lock = os.open(directory / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        yield False
        return
    try:
        yield not _try_lock(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def running(work: Path) -> tuple[Facts, ...]:
    """The machines of this user's list that run, oldest first."""
    return tuple(facts for facts, runs in known(work) if runs)


def known(work: Path) -> tuple[tuple[Facts, bool], ...]:
    """The machines of this user's list, oldest first, and whether each runs.

    Those that ended stay in the list for as long as their state directories are kept, but only the last hundred. One
    whose directory's parent is missing may be on a disk that is not mounted now: it stays, too.
    """
    found: list[tuple[Facts, bool]] = []
    ended: list[Path] = []
    for listed in (work / "machines").glob("[!.]*"):  # not what `_write` is about to rename
        directory = _listed(listed)
        if directory is None:
            continue
        with _asked(directory) as runs:
            facts = _facts(directory)
            if facts is not None:
                found.append((facts, runs))
            elif not runs and _is_there(directory.parent):
                listed.unlink(missing_ok=True)
        if not runs:
            ended.append(listed)
    for listed in sorted(ended, key=_written_ns)[:-_ENDED_KEPT]:
        _strike(listed)
    return tuple(sorted(found, key=lambda each: (each[0].started_s, each[0].name)))


def find(name: str, work: Path, *, ended: bool = False) -> Facts:
    """The running machine called ``name``, or whose state directory that is; of several, the one started here.

    With ``ended`` it may be one that has ended, the last of that name, when none runs. Raises ``PlatformError`` when
    there is none, or no telling which.
    """
    machines = known(work)
    here = {str(Path(name).absolute()), str(Path(f"{name}-state").absolute())}
    found = [(facts, runs) for facts, runs in machines if name == facts.name or facts.state in here]
    alive = [facts for facts, runs in found if runs]
    past = [facts for facts, runs in found if not runs]
    nearest = [facts for facts in alive if facts.state in here]
    if len(nearest or alive) == 1:
        return (nearest or alive)[0]
    if alive:
        states = ", ".join(facts.state for facts in alive)
        raise PlatformError(f"several machines are called {name}", fix=f"give the state directory: {states}")
    if ended and past:
        return max(past, key=lambda facts: (facts.state in here, facts.started_s))
    names = ", ".join(facts.name for facts, runs in machines if runs)
    if past:
        raise PlatformError(f"{name} is not running any more", fix=f"moby logs {name} shows what its console said")
    fix = f"running: {names}" if names else "no machine runs now; moby run -d FILE.yml starts one"
    raise PlatformError(f"no machine {name} is running", fix=fix)


def note_end(directory: Path, pid: int, status: int) -> None:
    """Keep the exit status of the machine that was the process ``pid``, where the directory still can."""
    with contextlib.suppress(OSError):
        _write(directory / "exit-status", f"{pid} {status}")


def exit_status(facts: Facts) -> int | None:
    """The status a machine ended with, when whoever saw its end kept it."""
    try:
        pid, status = map(int, (Path(facts.state) / "exit-status").read_text().split())
    except (OSError, ValueError):
        return None
    return status if pid == facts.pid else None


def _listed(entry: Path) -> Path | None:
    try:
        return Path(entry.read_text())
    except FileNotFoundError:
        return None  # another command struck it from the list meanwhile


def _strike(entry: Path) -> None:
    """Take a machine from the list, unless it has been started again meanwhile."""
    directory = _listed(entry)
    if directory is not None:
        with _asked(directory) as runs:
            if not runs:
                entry.unlink(missing_ok=True)


def _is_there(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return path.exists()
    return False


def _written_ns(entry: Path) -> int:
    with contextlib.suppress(OSError):
        return entry.stat().st_mtime_ns
    return 0  # struck meanwhile


def _facts(directory: Path) -> Facts | None:
    try:
        fields = json.loads((directory / "machine.json").read_text())
        return Facts(**{**fields, "publish": tuple(fields["publish"])})
    except (OSError, ValueError, KeyError, TypeError):
        return None  # being started, or not ours


def _try_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _short(path: Path) -> Iterator[str]:
    """``path`` as a socket address that fits: on Linux through a descriptor of its directory when it is long."""
    if len(os.fsencode(path)) <= _UNIX_PATH_LIMIT:
        yield str(path)
        return
    if sys.platform != "linux":
        raise PlatformError("the path is too long for a socket", where=str(path), fix="give a shorter --state DIR")
    descriptor = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}/{path.name}"
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """A directory that is full, gone or another user's is not an error of ours."""
    try:
        yield
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}"
        raise PlatformError(what, where=str(path), fix="free some space, or give --state DIR") from error


def _write(path: Path, text: str) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    beside.write_text(text)
    beside.replace(path)
