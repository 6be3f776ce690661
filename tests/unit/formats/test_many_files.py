"""Writers of file systems hold the tree, and little more of a file than its name."""

from __future__ import annotations

import tracemalloc
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from moby.formats import erofs, iso9660, squashfs
from moby.formats.entry import Entry, directory, file

DIRECTORIES, FILES = 24, 200

Write = Callable[[Iterator[Entry], BinaryIO], object]


def entries(directories: int) -> Iterator[Entry]:
    for number in range(directories):
        yield directory(f"package-{number:04}", mtime_s=1_700_000_000)
        for index in range(FILES):
            yield file(f"package-{number:04}/file-{index:05}.py", b"%d" % index, mtime_s=1_700_000_000 + number)


def peak(write: Write, directories: int, path: Path) -> int:
    with path.open("w+b") as out:
        tracemalloc.start()
        write(entries(directories), out)
        _, found = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return found


@pytest.mark.parametrize(
    ("write", "most_bytes"),
    [
        pytest.param(lambda given, out: iso9660.write(given, out, iso9660.Options(volume="X")), 200, id="iso"),
        pytest.param(lambda given, out: squashfs.write(given, out, time_s=0), 300, id="squashfs"),
        pytest.param(lambda given, out: erofs.write(given, out, uuid=uuid.UUID(int=1), time_s=0), 200, id="erofs"),
    ],
)
def test_a_file_takes_few_bytes_of_memory(write: Write, most_bytes: int, tmp_path: Path) -> None:
    more = peak(write, DIRECTORIES, tmp_path / "a") - peak(write, DIRECTORIES // 4, tmp_path / "b")
    assert more / (FILES * (DIRECTORIES - DIRECTORIES // 4)) < most_bytes
