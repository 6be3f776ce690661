"""Outputs that are already what a build would make are left as they are.

A build leaves a record of what decided its outputs and of the state in which the file system had them: size, times and
inode number. Nobody can change a file without its change time telling (``st_ctime``, which no program can set), as long
as a clock tick lies between the record and the change; so records are written one later. Where the file system's times
are whole seconds there are no records.
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
from collections.abc import Iterator, Sequence
from pathlib import Path

import moby
from moby import errors
from moby.artifact import Architecture, Artifact, Firmware
from moby.oci.store import Store
from moby.outputs.job import Job
from moby.outputs.settings import Settings
from moby.plan import Plan
from moby.rootfs.sbom.parts import parts

# Longer than a tick of the clock that file times are taken from, on any kernel.
_TICK_NS = 20_000_000
_COARSE_NS = 1_000_000_000
_MAX_RECORD_BYTES = 1 << 20
_MAX_RECORDS = 1000
# Their bytes are part of outputs.
_CODECS = ("zstandard", "zlib_ng")

State = list[int]


class Record:
    """What is known about the outputs of one job, in a file below ``folder``."""

    def __init__(self, folder: Path, job: Job, plan: Plan, store: Store, settings: Settings) -> None:
        place = os.path.abspath(job.output or job.directory / job.name)  # noqa: PTH100 - symbolic links stay
        formats = [format.name for format in job.formats]
        self._path = folder / f"{hashlib.sha256(json.dumps([place, *formats]).encode()).hexdigest()}.json"
        self._places = {os.path.abspath(path) for format in job.formats for _, path in job.files(format)}  # noqa: PTH100
        self._key = _key(formats, plan, store, settings)

    def find(self) -> tuple[Artifact, ...] | None:
        """The job's artifacts when their files are still what a build would make now."""
        try:
            with self._path.open("rb") as stream:
                known = json.loads(stream.read(_MAX_RECORD_BYTES))
            if known["key"] != self._key or any(_state(Path(path)) != state for path, state in known["files"].items()):
                return None
            if any(map(os.path.lexists, self._places - known["files"].keys())):
                return None
            return tuple(_decoded(each) for each in known["artifacts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, artifacts: Sequence[Artifact]) -> None:
        """Note that the files of ``artifacts`` are what this build made. That it cannot be noted does no harm."""
        paths = [os.path.abspath(path) for artifact in artifacts for _, path in artifact.files]  # noqa: PTH100
        with contextlib.suppress(OSError):
            states = {path: _state(Path(path)) for path in paths}
            changed_ns = max(state[2] for state in states.values())
            if all(state[2] % _COARSE_NS == 0 for state in states.values()):
                return
            time.sleep(min(max(0, changed_ns + _TICK_NS - time.time_ns()), _TICK_NS) / 1e9)
            if states == {path: _state(Path(path)) for path in paths}:
                self._replace({"key": self._key, "files": states, "artifacts": [_encoded(each) for each in artifacts]})

    def _replace(self, known: object) -> None:
        folder = self._path.parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=folder, prefix=".", delete=False) as out:
            json.dump(known, out)
        Path(out.name).replace(self._path)
        records = sorted((path.stat().st_mtime_ns, path) for path in folder.iterdir())
        for _, path in records[:-_MAX_RECORDS]:
            path.unlink(missing_ok=True)


def _state(path: Path) -> State:
    """What changes when a file does: size, modification and change time, inode and device number."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]


def _key(formats: list[str], plan: Plan, store: Store, settings: Settings) -> str:
    """A hash of everything that decides the outputs, except a signer's key."""
    digest = hashlib.sha256()
    for each in _decisive(formats, plan, store, settings):
        digest.update(f"{each}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _decisive(formats: list[str], plan: Plan, store: Store, settings: Settings) -> Iterator[object]:
    yield from (formats, plan, os.environ.get("SOURCE_DATE_EPOCH"))
    yield from (_content(each.data) for each in plan.files if isinstance(each.data, Path))
    yield from _layouts(plan, store)
    if settings.sbom is not None:
        keys = [part.key for part in parts(plan, store, decompress_kernel=settings.decompress_kernel)]
        yield from (settings.sbom.path, settings.sbom.created, keys)
    yield from (settings.decompress_kernel, settings.disk_bytes, settings.root, settings.layout, settings.verity)
    yield from (code.image.digest for code in (settings.boot_code, settings.stage1) if code is not None)
    yield from _program()


def _layouts(plan: Plan, store: Store) -> Iterator[object]:
    """What volumes hold that are image layouts: the store has a say in that."""
    for each in plan.volumes:
        if each.images and each.format == "oci":
            from moby.rootfs import volumes  # rarely needed

            yield volumes.layout_digests(each, store)


def _content(source: Path) -> str:
    """A file of this host. One that cannot be read is the build's to report."""
    try:
        with source.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return str(error)


def _program() -> Iterator[object]:
    """This program, its interpreter and its codecs, as the files they are in."""
    yield from (moby.__version__, sys.version)
    for name in _CODECS:
        found = importlib.util.find_spec(name)
        yield _state(Path(found.origin).parent)[1:] if found and found.origin else name
    for folder, _, names in os.walk(Path(errors.__file__).parent):
        for name in sorted(names):
            if name.endswith(".py"):
                yield name, *_state(Path(folder, name))[:2]


def _encoded(artifact: Artifact) -> dict[str, object]:
    return {
        "name": artifact.name,
        "format": artifact.format,
        "architecture": artifact.architecture,
        "firmware": artifact.firmware,
        "files": [(role, str(path)) for role, path in artifact.files],
        "size_bytes": artifact.size_bytes,
        "root_bytes": artifact.root_bytes,
    }


def _decoded(fields: dict[str, object]) -> Artifact:
    """Raises ``ValueError``, ``TypeError`` or ``KeyError`` for what ``_encoded`` did not give."""
    return Artifact(
        name=str(fields["name"]),
        format=str(fields["format"]),
        architecture=Architecture(str(fields["architecture"])),
        firmware=Firmware(str(fields["firmware"])),
        files=tuple((role, Path(path)) for role, path in fields["files"]),  # type: ignore[attr-defined]  # checked here
        size_bytes=int(fields["size_bytes"]),  # type: ignore[call-overload]  # checked here
        root_bytes=int(fields["root_bytes"]),  # type: ignore[call-overload]  # checked here
    )
