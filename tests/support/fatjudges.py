"""What fsck.fat and mtools make of a FAT file system."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from moby import proc

_ENVIRONMENT = {**os.environ, "LC_ALL": "C.UTF-8"}


def check(image: Path) -> str:
    """What fsck.fat says of a sound file system. Raises ``CommandError`` for any other."""
    return proc.run(["fsck.fat", "-n", image], env=_ENVIRONMENT).decode()


def extract(image: Path, *, offset: int = 0) -> dict[str, bytes | None]:
    """Path → content as mcopy takes it out; None is a directory."""
    with tempfile.TemporaryDirectory() as folder:
        proc.run(["mcopy", "-s", "-n", "-Q", "-i", f"{image}@@{offset}", "::/", folder], env=_ENVIRONMENT)
        return {
            str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes()
            for path in Path(folder).rglob("*")
        }


def listing(image: Path, *options: str, offset: int = 0) -> str:
    """What mdir lists of the root."""
    return proc.run(["mdir", *options, "-i", f"{image}@@{offset}", "::/"], env=_ENVIRONMENT).decode()
