"""What an artifact is made of: a tree of parts, some of which hold files.

A part is a file, a partition, a section of a program, a segment of an initrd. What it says of itself are its facts;
what it is made of are its parts; ``entries`` gives the files of an archive or file system.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import BinaryIO

from moby.formats.entry import Entry

Fact = str | int | bool | tuple[str, ...]
Look = Callable[[BinaryIO, str], "Part"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part. ``stream`` is its bytes, seekable; None for a group of files that have no bytes of their own."""

    name: str
    kind: str
    stream: BinaryIO | None = None
    facts: Mapping[str, Fact] = field(default_factory=dict)
    parts: tuple[Part, ...] = ()
    entries: Callable[[], Iterator[Entry]] | None = None

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return self.stream.seek(0, io.SEEK_END) if self.stream is not None else sum(each.size for each in self.parts)

    def sha256(self) -> str:
        """The hash (hex) of its bytes; of a group, nothing."""
        if self.stream is None:
            return ""
        self.stream.seek(0)
        state = hashlib.sha256()
        while data := self.stream.read(1 << 20):
            state.update(data)
        return state.hexdigest()
