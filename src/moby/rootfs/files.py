"""The ``files`` section: what the YAML itself puts into the root."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, cast

from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind
from moby.plan import FilePlan
from moby.rootfs.bundle import ancestors
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.merge import Merge


def files(plans: Sequence[FilePlan], merge: Merge) -> Iterator[Entry]:
    """Each file in order, after the directories it needs; of two with one path the later wins.

    A directory that something put there before, an image for instance, keeps its mode and owner. One that is implied
    gets the file's owner, and its mode with leave to enter for everybody who may do anything with the file.
    Raises ``ConfigError`` for a source that cannot be read.
    """
    for plan in plans:
        origin = f"files[{plan.index}]"
        for parent in ancestors(plan.path)[:-1]:
            if not merge.is_directory(parent):
                yield from merge.put(_entry(plan, origin, path=parent, kind=Kind.DIRECTORY, mode=entered(plan.mode)))
        if isinstance(plan.data, Path):
            yield from _copied(plan, plan.data, origin, merge)
        else:
            yield from merge.put(_entry(plan, origin, data=plan.data))


def entered(mode: int) -> int:
    """``mode`` with the right to enter added for each class that has any right: 0640 gives 0750."""
    return mode | sum(shift for shift in (0o100, 0o010, 0o001) if mode & shift * 7)


def _entry(
    plan: FilePlan, origin: str, *, path: str = "", kind: Kind | None = None, mode: int | None = None, data: bytes = b""
) -> Entry:
    return Entry(
        path=path or plan.path,
        kind=kind or plan.kind,
        mode=plan.mode if mode is None else mode,
        uid=plan.uid,
        gid=plan.gid,
        mtime_s=FIXED_MTIME_S,
        size=len(data),
        target="" if kind else plan.target,
        data=data,
        origin=origin,
    )


def _copied(plan: FilePlan, source: Path, origin: str, merge: Merge) -> Iterator[Entry]:
    """A file of this host. Its mode and owner are the YAML's; it is not read into memory."""
    where = f"{origin}.source"
    try:
        if not stat.S_ISREG(source.stat().st_mode):
            raise ConfigError(f"{source} is not a regular file", where=where)
        stream = source.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read {source}: {error.strerror}", where=where) from error
    with stream:
        size = os.fstat(stream.fileno()).st_size
        yield from merge.put(replace(_entry(plan, origin), size=size, data=cast(BinaryIO, stream)))
