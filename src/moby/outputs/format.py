"""What a format is: a row of the table in ``outputs/__init__.py``, and what its writer is given."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from moby.artifact import Architecture, Firmware
from moby.formats import sparse
from moby.outputs.source import Source

_BUFFER_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One file of a format: ``suffix`` follows the build's name, ``role`` is what it is called in an ``Artifact``."""

    role: str
    suffix: str


class Targets:
    """Where a writer puts its files, by role: beside their final places until the whole build is done.

    ``name`` is what the files of the build are called, for files that name others.
    """

    def __init__(self, folder: Path, *, name: str = "", stdout: BinaryIO | None = None) -> None:
        self.name = name
        self._folder = folder
        self._stdout = stdout

    def path(self, role: str) -> Path:
        """The path to write ``role`` to, in a directory of this format's own."""
        return self._folder / role

    @contextlib.contextmanager
    def open(self, role: str) -> Iterator[BinaryIO]:
        """A stream for the file ``role``; for streamable formats it may be stdout and cannot seek then."""
        if self._stdout is not None:
            yield self._stdout
            self._stdout.flush()
            return
        with self.path(role).open("wb", buffering=_BUFFER_BYTES) as stream:
            yield stream

    def take(self, role: str, path: Path) -> None:
        """Make ``path``, which stays as it is, the file ``role``: without a copy the first time.

        No two outputs are the same file: a machine may write to one of them.
        """
        if path.stat().st_nlink == 1:
            with contextlib.suppress(OSError):  # a file system without hard links
                os.link(path, self.path(role))
                return
        with path.open("rb") as source, self.path(role).open("wb") as out:
            sparse.copy(source, out)


Writer = Callable[[Source, Targets], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """One output format.

    ``write`` makes the files it has something for: a role whose file it does not make has no file. ``streamable``
    formats have one file and write it front to back. ``architectures`` is None where all will do. ``boot_code`` formats
    are given the component ``boot``, ``stage1`` formats that of this name, ``rpi_code`` formats ``boot-rpi``;
    ``partitioned`` ones have room for a root on the disk. A root on a disk may be under ``verity`` where there is room
    for its hash tree.
    """

    name: str
    description: str
    files: tuple[File, ...]
    write: Writer
    streamable: bool = False
    architectures: frozenset[Architecture] | None = None
    firmware: Firmware = Firmware.NONE
    boot_code: bool = False
    stage1: bool = False
    rpi_code: bool = False
    partitioned: bool = False
    verity: bool = True
