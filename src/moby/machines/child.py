"""The QEMU process behind a machine: our child, or one that was left running by another command.

A child ends with this tool, even when the tool is killed: on Linux the kernel sees to it. As that bond is to a
*thread*, the thread that starts QEMU lives as long as QEMU does.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Protocol

from moby import proc
from moby.errors import PlatformError
from moby.machines import state

_POLL_S = 0.1


class Process(Protocol):
    """What a machine needs of its process."""

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs, or when it is not our child."""
        ...

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when ``timeout_s`` passed first."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...


class Child:
    """A process that this tool started and that does not outlive it."""

    def __init__(
        self,
        argv: Sequence[str],
        *,
        output: Path,
        pass_fds: Sequence[int],
    ) -> None:
        """Start ``argv`` with its messages going to ``output``.

        Raises ``CommandError`` when it cannot be started, ``PlatformError`` when ``output`` cannot be written.
        """
        self._argv, self._output, self._pass_fds = list(argv), output, tuple(pass_fds)
        self._process: proc.Running | None = None
        self._fault: BaseException | None = None
        self._started, self._ended = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="moby-machine", daemon=True).start()
        self._started.wait()
        if self._fault is not None:
            raise self._fault

    def _run(self) -> None:
        try:
            self._live()
        except BaseException as error:  # raised again by whoever waits for the start
            self._fault = error
        finally:  # whatever happened, nobody waits for this thread in vain
            self._started.set()
            self._ended.set()

    def _live(self) -> None:
        """Start the process and wait for its end; when that is not to be, no process is left."""
        process = self._start()
        try:
            with contextlib.nullcontext() if proc.DIES_WITH_PARENT else proc.guard(process):
                self._process = process
                self._started.set()
                process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise

    def _start(self) -> proc.Running:
        try:
            output = self._output.open("wb")
        except OSError as error:
            raise PlatformError(f"cannot be written: {error.strerror}", where=str(self._output)) from error
        with output:
            return proc.start(
                self._argv,
                stdout=output,
                stderr=output,
                new_session=True,  # the terminal's Ctrl-C is for the tool, which stops the guest properly
                pass_fds=self._pass_fds,
                die_with_parent=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None  # __init__ raised otherwise
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        return self._process.returncode if self._process is not None and self._ended.is_set() else None

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when ``timeout_s`` passed first."""
        return self._ended.wait(timeout_s)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()


class Detached:
    """A QEMU that outlives the command that started it: watched through the lock it holds."""

    returncode = None

    def __init__(self, pid: int, directory: Path) -> None:
        self.pid = pid
        self._directory = directory

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait for its end; False when ``timeout_s`` passed first."""
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while state.is_running(self._directory):
            if deadline is not None and time.monotonic() >= deadline:
                return False
            time.sleep(_POLL_S)
        return True

    def kill(self) -> None:
        """End it at once, if it still is the machine of its directory. Raises ``PlatformError`` when it may not be."""
        try:
            with _pinned(self.pid) as send:
                if state.is_running(self._directory) and state.pid(self._directory) == self.pid:
                    send(signal.SIGKILL)
        except ProcessLookupError:
            return
        except PermissionError as error:
            raise PlatformError("the machine belongs to another user", where=str(self._directory)) from error


@contextlib.contextmanager
def _pinned(pid: int) -> Iterator[Callable[[signal.Signals], None]]:
    """Sends signals to the process that has ``pid`` now, never to a later one, where the system can tell them apart."""
    if sys.platform != "linux":
        yield lambda number: os.kill(pid, number)
        return
    descriptor = os.pidfd_open(pid)
    try:
        yield lambda number: signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
