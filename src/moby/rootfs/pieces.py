"""A root in RAM as it is put together: how it lies there, and what it is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field
from pathlib import Path

PAGE_BYTES = 4096


class Layout(enum.StrEnum):
    """How the roots of containers lie in RAM: unpacked, or each as a packed image that is mounted."""

    TREE = "tree"
    IMAGES = "images"


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of the initrd: ``head``, all of the file ``path``, ``tail``."""

    path: Path
    head: bytes = b""
    tail: bytes = b""


@dataclass(slots=True, kw_only=True)
class Root:
    """A root as pieces, which must be joined while the cache is in use, each padded to four bytes.

    ``boot`` are the files of ``boot/``, which belong to no initrd, by path. ``size_bytes`` is what it takes unpacked.
    """

    pieces: list[Piece] = field(default_factory=list)
    boot: dict[str, Path] = field(default_factory=dict)
    size_bytes: int = 0
