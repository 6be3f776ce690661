"""Writing the files of one build so that nobody ever sees half of them."""

from __future__ import annotations

import contextlib
import errno
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from moby import log, timing
from moby.artifact import Artifact
from moby.errors import PlatformError
from moby.oci.store import Store
from moby.outputs.current import Record
from moby.outputs.format import Format, Targets
from moby.outputs.job import STDOUT, Job
from moby.outputs.publish import publish
from moby.outputs.scratch import scratch, sweep
from moby.outputs.settings import Settings
from moby.outputs.source import Source
from moby.plan import Plan

Placed = list[tuple[str, Path]]


def write(job: Job, plan: Plan, store: Store, *, stdout: BinaryIO | None, settings: Settings) -> tuple[Artifact, ...]:
    """Make the job's formats, then put all files in their places."""
    with _explained(job):
        if job.output is not None and _is_stream(job.output):
            return (_stream(job, plan, store, stdout or sys.stdout.buffer, settings),)
        record = _record(job, plan, store, settings)
        if record is not None and (artifacts := record.find()) is not None:
            log.info("nothing changed: the outputs stay as they are")
            sweep(_place_of(job))
            return artifacts
        artifacts = _place(job, plan, store, settings)
        if record is not None:
            record.write(artifacts)
        return artifacts


def _place(job: Job, plan: Plan, store: Store, settings: Settings) -> tuple[Artifact, ...]:
    """Make all files beside their places, then rename them."""
    with scratch(_place_of(job)) as folder:
        source = Source(plan, store, _made(folder / "parts"), settings)
        made = [
            _make(format, source, Targets(_made(folder / str(number)), name=job.name))
            for number, format in enumerate(job.formats)
        ]
        artifacts = tuple(
            _finished(job, format, roles, source) for format, roles in zip(job.formats, made, strict=True)
        )
        files, obsolete = _names(job, made)
        publish(files, obsolete, _made(folder / "kept"))
        return artifacts


def _place_of(job: Job) -> Path:
    return (job.output or job.directory / job.name).parent


def _record(job: Job, plan: Plan, store: Store, settings: Settings) -> Record | None:
    """What is known about the outputs. Signatures are made anew each time."""
    if settings.cache is None or settings.signer is not None:
        return None
    with timing.stage("look"):
        return Record(settings.cache / "outputs", job, plan, store, settings)


def _make(format: Format, source: Source, targets: Targets) -> Placed:
    """Run one writer; its files by role, still where it wrote them."""
    with log.step(f"Writing {format.name}"):
        format.write(source, targets)
    return [(file.role, path) for file in format.files if (path := targets.path(file.role)).exists()]


def _finished(job: Job, format: Format, made: Placed, source: Source) -> Artifact:
    """One format's files as they will be called."""
    final = dict(job.files(format))
    size = 0
    for _, path in made:
        status = path.stat()
        path.chmod(status.st_mode & 0o644)
        size += status.st_size
    return _artifact(job, format, source, tuple((role, final[role]) for role, _ in made), size)


def _names(job: Job, made: Sequence[Placed]) -> tuple[dict[Path, Path], list[Path]]:
    """The final name of each file, and names of files that an earlier build made but this one did not."""
    files: dict[Path, Path] = {}
    for format, roles in zip(job.formats, made, strict=True):
        final = dict(job.files(format))
        files |= {path: final[role] for role, path in roles}
    named = {final for format in job.formats for _, final in job.files(format)}
    return files, sorted(named - set(files.values()))


def _stream(job: Job, plan: Plan, store: Store, stdout: BinaryIO, settings: Settings) -> Artifact:
    """Write the one format front to back to stdout or to a device or pipe."""
    format = job.formats[0]
    assert job.output is not None
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="moby-")))
        source = Source(plan, store, folder, settings)
        out = stdout if job.output == STDOUT else stack.enter_context(job.output.open("wb"))
        counted = _Counted(out)
        with log.step(f"Writing {format.name}"):
            format.write(source, Targets(folder, stdout=cast(BinaryIO, counted)))
    files = () if job.output == STDOUT else ((format.files[0].role, job.output),)
    return _artifact(job, format, source, files, counted.count)


class _Counted:
    """A stream that knows how many bytes went through it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.count = 0
        self.flush = out.flush

    def write(self, data: bytes) -> int:
        self.count += len(data)
        return self._out.write(data)


def _artifact(
    job: Job, format: Format, source: Source, files: tuple[tuple[str, Path], ...], size_bytes: int
) -> Artifact:
    return Artifact(
        name=job.name or (job.output or Path()).stem,
        format=format.name,
        architecture=source.architecture,
        firmware=format.firmware,
        files=files,
        size_bytes=size_bytes,
        root_bytes=0 if _on_disk(format, source) else source.root_bytes,
    )


def _on_disk(format: Format, source: Source) -> bool:
    """Whether the root is not unpacked into RAM."""
    return format.stage1 or (format.partitioned and source.settings.root is not None)


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def _is_stream(path: Path) -> bool:
    """Whether there is nothing to rename: stdout, a pipe, a device."""
    return path == STDOUT or (path.exists() and not path.is_file())


@contextlib.contextmanager
def _explained(job: Job) -> Iterator[None]:
    """A full or forbidden disk is the user's to mend; a reader of stdout that went away is not an error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        place = error.filename or job.output or job.directory
        fix = "free some space, or choose another --dir" if error.errno == errno.ENOSPC else ""
        raise PlatformError(f"cannot write: {error.strerror or error}", where=str(place), fix=fix) from error
