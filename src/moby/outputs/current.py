"""Outputs that are already what a build would make are left as they are.

A build leaves a record of what decided its outputs and of the state in which the file system had them, as
``moby.unchanged`` explains it. That module asks whether anything was touched; this one, whether it makes a difference.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from moby import unchanged
from moby.artifact import Artifact
from moby.oci.store import Store
from moby.outputs.job import Job
from moby.outputs.settings import Settings
from moby.plan import Plan
from moby.rootfs.sbom.parts import parts


class Record:
    """What is known about the outputs of one job, in a file below ``folder``."""

    def __init__(self, folder: Path, job: Job, plan: Plan, store: Store, settings: Settings) -> None:
        place = _absolute(job.output or job.directory / job.name)
        formats = [format.name for format in job.formats]
        self._path = folder / f"{hashlib.sha256(json.dumps([place, *formats]).encode()).hexdigest()}.json"
        self._places = {_absolute(path) for format in job.formats for _, path in job.files(format)}
        self._key = _key(formats, plan, store, settings)

    def find(self) -> tuple[Artifact, ...] | None:
        """The job's artifacts when their files are still what a build would make now."""
        known = unchanged.load(self._path)
        try:
            if known is None or known["key"] != self._key:
                return None
            if any(unchanged.state(path) != state for path, state in known["files"].items()):
                return None
            if any(map(os.path.lexists, self._places - known["files"].keys())):
                return None
            return tuple(unchanged.decoded(each) for each in known["artifacts"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, artifacts: Sequence[Artifact]) -> None:
        """Note that the files of ``artifacts`` are what this build made. That it cannot be noted does no harm."""
        with contextlib.suppress(OSError):
            states = unchanged.settled(_absolute(path) for artifact in artifacts for _, path in artifact.files)
            if states is not None:
                made = [unchanged.encoded(each) for each in artifacts]
                unchanged.save(self._path, {"key": self._key, "files": states, "artifacts": made})


def _absolute(path: Path) -> str:
    return os.path.abspath(path)  # noqa: PTH100 - symbolic links stay


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
    yield from (
        code.image.digest for code in (settings.boot_code, settings.stage1, settings.rpi_code) if code is not None
    )
    yield from unchanged.program()


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
