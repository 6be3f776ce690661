"""What goes into a file of a file system or archive image: a size, and a way to read it when its turn comes."""

from __future__ import annotations

import functools
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from moby.errors import IntegrityError
from moby.formats.stream import copy


@dataclass(frozen=True, slots=True)
class Content:
    """``size`` bytes that ``open`` gives from the start, as often as it is called; the caller closes the stream."""

    size: int
    open: Callable[[], BinaryIO]

    @classmethod
    def of(cls, data: bytes) -> Content:
        """Bytes in memory."""
        return cls(len(data), functools.partial(io.BytesIO, data))

    @classmethod
    def file(cls, path: Path) -> Content:
        """A file on the host that stays as it is. Raises ``OSError`` when it cannot be examined."""
        return cls(path.stat().st_size, lambda: path.open("rb"))

    def copy(self, out: BinaryIO, *, where: str) -> None:
        """Write it all to ``out``. Raises ``IntegrityError`` that names ``where`` when it is not of its size."""
        with self.open() as source:
            copy(source, out, self.size, where=where)
            if source.read(1):
                raise IntegrityError(f"{self.size} bytes announced, more given", where=where)
