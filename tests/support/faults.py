"""Commands that are killed, starved and started many at a time.

A ``Runner`` is one process that has loaded the program and forks for each command, so that two hundred of them cost
little. A command may be told to kill itself (SIGKILL) right before it touches a file or the network for the n-th time.

    with Runner(folder) as runner:
        run = runner.start(["build", "a.yml"], kill_at=17)
        assert run.wait().status == -9

Words: ``build …`` as the command line has them; ``pull NAME``, ``push NAME TO``, ``verify`` on the store; ``list DIR``
shows the outputs called a there; ``grow SIZE`` makes the runner's small disk larger.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

ROOT = Path(__file__).parents[2]
_WATCHED = frozenset(("open", "os.rename", "os.remove", "os.mkdir", "os.chmod", "fcntl.flock", "socket.connect"))
_IN_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount", "--propagation", "private")
_MOUNT = 'mount -t tmpfs -o size="$1" none "$2" && shift 2 && exec "$@"'


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a command ended: the exit status, or minus the signal; what it said; how often it touched something."""

    status: int
    said: str
    touches: int


class Run:
    """A command under way."""

    def __init__(self, runner: Runner, number: int, pid: int) -> None:
        self._runner, self._number, self.pid = runner, number, pid

    def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> Result:
        """The end of it."""
        status = int(self._runner.ask({"wait": self.pid})["status"])
        folder = self._runner.folder
        said, counted = folder / f"said{self._number}", folder / f"touches{self._number}"
        return Result(
            status=status,
            said=said.read_text() if said.exists() else "",  # it may have been killed before it opened it
            touches=int(counted.read_text() or 0) if counted.exists() else 0,
        )


class Runner:
    """The process that forks. Its store is ``folder/store`` and its current directory ``folder``.

    With ``disk`` (a size as tmpfs spells it) ``folder/disk`` is a file system of its own that only the commands see.
    """

    def __init__(self, folder: Path, *, disk: str = "") -> None:
        self.folder = folder
        self._number = 0
        words = [sys.executable, "-m", "tests.support.faults", str(folder)]
        if disk:
            (folder / "disk").mkdir()
            words = [*_IN_NAMESPACE, "sh", "-ec", _MOUNT, "sh", disk, str(folder / "disk"), *words]
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "XDG_CACHE_HOME": str(folder / "cache")}
        self._process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder, env=environment
        )
        assert self.ask({"ready": True}) == {"ready": True}

    def start(self, words: Sequence[str], *, kill_at: int = 0, limit_bytes: int = 0) -> Run:
        """Begin a command; ``limit_bytes`` is the largest file that it may write."""
        self._number += 1
        order = {"words": list(words), "number": self._number, "kill_at": kill_at, "limit_bytes": limit_bytes}
        return Run(self, self._number, int(self.ask(order)["pid"]))

    def run(self, *words: str, kill_at: int = 0, limit_bytes: int = 0) -> Result:
        """A command to its end."""
        return self.start(words, kill_at=kill_at, limit_bytes=limit_bytes).wait()

    def ask(self, order: dict[str, object]) -> dict[str, int]:
        """One order and its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, "the runner died"
        answer: dict[str, int] = json.loads(line)
        return answer

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)


def has_namespaces() -> bool:
    """Whether this host lets us mount a small file system."""
    try:
        done = subprocess.run([*_IN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, timeout=20)
    except OSError:
        return False
    return done.returncode == 0


def faults_of(root: Path) -> list[str]:
    """What is wrong with the store at ``root``: every blob is what its name says, every name leads to something."""
    from moby.oci.digest import Digest
    from moby.oci.manifest import Index
    from moby.oci.store import Store

    found = []
    for path in (root / "blobs").rglob("*"):
        if path.is_file() and Digest.of(path.read_bytes(), path.parent.name).hex != path.name:
            found.append(f"{path.name} has other content")
    if not (root / "oci-layout").exists() and (root / "index.json").exists():
        found.append("no oci-layout")
    store = Store(root)
    for name in store.names():
        for descriptor in store.descriptors(name):
            if not store.has(descriptor):
                found.append(f"{name} leads nowhere")
                continue
            document = store.read_manifest(descriptor)
            if not isinstance(document, Index):
                missing = [each for each in (document.config, *document.layers) if not store.has(each)]
                found += [f"{name} lacks {each.digest}" for each in missing]
    return found


class _Touches:
    """Counts what the audit events tell, and ends the process at the chosen one."""

    def __init__(self, kill_at: int) -> None:
        self.count = 0
        self._kill_at = kill_at
        self._lock = threading.Lock()

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if event not in _WATCHED or (event == "open" and ".py" in str(arguments[0])):
            return
        with self._lock:
            self.count += 1
            if self.count == self._kill_at:
                os.kill(os.getpid(), signal.SIGKILL)


def _serve(folder: Path) -> None:
    """Obey orders until stdin ends."""
    _perform(["warm"], folder)  # imports what would otherwise be imported by each child
    for line in sys.stdin:
        order = json.loads(line)
        if "words" in order:
            answer = {"pid": _fork(order, folder)}
        elif "wait" in order:
            _, status = os.waitpid(order["wait"], 0)
            answer = {"status": os.waitstatus_to_exitcode(status)}
        else:
            answer = {"ready": True}
        print(json.dumps(answer), flush=True)


def _fork(order: dict[str, object], folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 70
    try:
        number = order["number"]
        said = os.open(folder / f"said{number}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        limit = int(str(order["limit_bytes"]))
        if limit:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        touches = _Touches(int(str(order["kill_at"])))
        sys.addaudithook(touches)
        words = order["words"]
        assert isinstance(words, list)
        status = _perform(words, folder)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / f"touches{number}").write_text(str(touches.count))
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _perform(words: Sequence[str], folder: Path) -> int:
    """Do what ``words`` say; the exit status of ``moby``."""
    from moby.cli.main import main, report
    from moby.errors import MobyError
    from moby.oci.manifest import Platform
    from moby.oci.pull import Pull
    from moby.oci.push import Push
    from moby.oci.reference import Reference
    from moby.oci.registry import Registry
    from moby.oci.store import Store

    command, *rest = words
    if command == "warm":
        return len((Pull, Push))
    if command == "build":
        return main(list(words))
    if command == "list":
        for path in sorted(Path(rest[0]).glob("a[-.]*")):
            print(path.name, path.stat().st_size, path.stat().st_mtime_ns)
        return 0
    if command == "grow":
        return subprocess.run(["mount", "-o", f"remount,size={rest[0]}", "disk"], cwd=folder).returncode
    store = Store(_store(rest, folder))
    if command == "verify":
        print("\n".join(faults_of(store.root)))
        return 0
    import httpx

    try:
        with httpx.Client(timeout=5) as client:
            registry = Registry(lambda: client, sleep=lambda seconds: None)
            if command == "pull":
                registry.pull(Reference.parse(rest[0]), Platform.parse("amd64"), store)
            else:
                registry.push(rest[0], Reference.parse(rest[1]), store)
    except MobyError as error:
        report(error)
        return 1
    return 0


def _store(rest: Sequence[str], folder: Path) -> Path:
    """The store of a command: ``--cache DIR`` at its end, else ``folder/store``."""
    return Path(rest[-1]) if "--cache" in rest else folder / "store"


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
