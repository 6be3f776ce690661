"""A build that would change nothing, recognised before anything that takes time to load is loaded.

A build that was asked for in the same words notes every file that decided it (YAML files, recipes, locks, the store's
index, sources of ``files:``, this program) and every file it made, each with the state in which the file system had it.
While all of them are in that state the outputs are what the build would make.

A state is size, times and inode number; no program can set the change time (``st_ctime``). It tells of any change if a
tick of the clock lies between. So only files that were as they are since before the build began count as inputs, and
the note is written when a tick has passed since the last output changed. Where a file system has whole seconds only,
or anything else is in doubt, there is no note, and the build takes the long way, which looks at contents.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import moby
from moby import errors
from moby.artifact import Architecture, Artifact, Firmware

# Longer than a tick of the clock that file times are taken from, on any kernel.
TICK_NS = 20_000_000
_COARSE_NS = 1_000_000_000
_MAX_BYTES = 16 << 20
MAX_RECORDS = 1000
# Their bytes are part of outputs.
_CODECS = ("zstandard", "zlib_ng")
_VARIABLES = ("HOME", "PATH", "SOURCE_DATE_EPOCH")
_PREFIXES = ("MOBY_", "LINUXKIT_", "XDG_", "DOCKER_")

State = list[int]


def state(path: str | Path | int) -> State:
    """What changes when a file does: size, modification and change time, inode and device. Raises ``OSError``."""
    status = os.stat(path)  # noqa: PTH116 - no object for each of some hundred files
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def settled(paths: Iterable[str]) -> dict[str, State] | None:
    """The states of files that were just written, from a moment at which any change to come will tell.

    None when that cannot be: the file system is too coarse, or somebody is changing them. Raises ``OSError``.
    """
    states = {path: state(path) for path in paths}
    if not states or all(each[2] % _COARSE_NS == 0 for each in states.values()):
        return None
    wait_ns = max(each[2] for each in states.values()) + TICK_NS - time.time_ns()
    time.sleep(min(max(0, wait_ns), TICK_NS) / 1e9)
    return states if states == {path: state(path) for path in states} else None


def program() -> Iterator[object]:
    """This program, its interpreter and its codecs, as the files they are in."""
    yield from (moby.__version__, sys.version)
    for name in _CODECS:
        found = importlib.util.find_spec(name)
        yield state(Path(found.origin).parent)[1:] if found and found.origin else name
    for folder, _, names in os.walk(Path(errors.__file__).parent):
        for name in sorted(names):
            if name.endswith(".py"):
                yield name, *state(os.path.join(folder, name))[:2]  # noqa: PTH118 - for each of some hundred files


class Inputs:
    """The files that decide a build, collected while it runs. ``spoil`` when something else has a say."""

    def __init__(self) -> None:
        self.spoilt = False
        self.touched: set[str] = set()
        self._begin_ns = time.time_ns()
        self._paths: set[str] = set()

    def add(self, path: Path) -> None:
        """One file, or the fact that there is none."""
        self._paths.add(os.path.abspath(path))  # noqa: PTH100 - symbolic links stay

    def add_tree(self, folder: Path) -> None:
        """Everything below a directory, and which names it has."""
        self.add(folder)
        for above, folders, names in os.walk(folder):
            for name in (*folders, *names):
                self.add(Path(above, name))

    def touch(self, path: Path) -> None:
        """A file whose modification time says when it was last used: not an input, and touched by every build."""
        self.touched.add(str(path))

    def states(self) -> dict[str, State | None] | None:
        """All inputs as they are and were when the build began; None when that is not certain."""
        states = {path: _state_or_none(path) for path in self._paths}
        latest_ns = self._begin_ns - TICK_NS
        if self.spoilt or any(each is not None and each[2] > latest_ns for each in states.values()):
            return None
        return states


_inputs: ContextVar[Inputs | None] = ContextVar("moby_inputs", default=None)


def inputs() -> Inputs:
    """The collection of the build at hand; one that nobody looks at when none is wanted."""
    return _inputs.get() or Inputs()


@contextlib.contextmanager
def collecting() -> Iterator[Inputs]:
    """Collect the inputs of what is built within the block."""
    collected = Inputs()
    token = _inputs.set(collected)
    try:
        yield collected
    finally:
        _inputs.reset(token)


class Note:
    """The note about builds that are asked for in the words ``asked`` (values of JSON), in ``folder``."""

    def __init__(self, folder: Path, asked: object, environment: Mapping[str, str]) -> None:
        heard = {name: value for name, value in environment.items() if name in _VARIABLES or name.startswith(_PREFIXES)}
        words = json.dumps([os.getcwd(), asked, heard], sort_keys=True, default=str)  # noqa: PTH109 - no object needed
        self._path = folder / f"{hashlib.sha256(words.encode('utf-8', 'surrogateescape')).hexdigest()}.note"

    def find(self) -> tuple[Artifact, ...] | None:
        """The artifacts of such a build when it would change nothing."""
        known = load(self._path)
        try:
            if known is None or known["program"] != _program_id():
                return None
            if any(_state_or_none(path) != was for path, was in {**known["inputs"], **known["outputs"]}.items()):
                return None
            for path in known["touched"]:
                os.utime(path)
            return tuple(decoded(each) for each in known["artifacts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, collected: Inputs, artifacts: tuple[Artifact, ...]) -> None:
        """Note what the build that just ended depended on and made. That it cannot be noted does no harm."""
        with contextlib.suppress(OSError):
            made = settled(str(path) for artifact in artifacts for _, path in artifact.files)
            states = collected.states()
            if made is not None and states is not None:
                known = {"program": _program_id(), "inputs": states, "outputs": made}
                touched = sorted(collected.touched)
                save(self._path, {**known, "touched": touched, "artifacts": [encoded(each) for each in artifacts]})


def load(path: Path) -> dict[str, Any] | None:
    """A record; None when there is none that can be read."""
    try:
        with path.open("rb") as stream:
            known = json.loads(stream.read(_MAX_BYTES))
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def save(path: Path, known: object) -> None:
    """Put a record in its place at once, and drop old ones. Raises ``OSError``."""
    folder = path.parent
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False) as out:
        json.dump(known, out)
    Path(out.name).replace(path)
    records = sorted((each.stat().st_mtime_ns, each) for each in folder.iterdir())
    for _, old in records[:-MAX_RECORDS]:
        old.unlink(missing_ok=True)


def _state_or_none(path: str) -> State | None:
    try:
        return state(path)
    except OSError:
        return None


def _program_id() -> str:
    digest = hashlib.sha256()
    for each in program():
        digest.update(f"{each}\0".encode())
    return digest.hexdigest()


def encoded(artifact: Artifact) -> dict[str, object]:
    """An artifact as values of JSON."""
    return {
        "name": artifact.name,
        "format": artifact.format,
        "architecture": artifact.architecture,
        "firmware": artifact.firmware,
        "files": [(role, str(path)) for role, path in artifact.files],
        "size_bytes": artifact.size_bytes,
        "root_bytes": artifact.root_bytes,
    }


def decoded(fields: Mapping[str, Any]) -> Artifact:
    """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what ``encoded`` did not give."""
    return Artifact(
        name=str(fields["name"]),
        format=str(fields["format"]),
        architecture=Architecture(str(fields["architecture"])),
        firmware=Firmware(str(fields["firmware"])),
        files=tuple((role, Path(path)) for role, path in fields["files"]),
        size_bytes=int(fields["size_bytes"]),
        root_bytes=int(fields["root_bytes"]),
    )
