"""Files of this host as entries of an archive or image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from moby.formats.entry import Entry, Kind, file
from moby.rootfs.constants import FIXED_MTIME_S


def host_files(files: Mapping[str, Path | bytes]) -> Iterator[Entry]:
    """``files`` by their paths in the image, root's and readable by all; each is open while its entry is the last."""
    for path, content in files.items():
        if isinstance(content, bytes):
            yield file(path, content, mtime_s=FIXED_MTIME_S)
            continue
        with content.open("rb") as stream:
            yield Entry(
                path=path,
                kind=Kind.FILE,
                mode=0o644,
                mtime_s=FIXED_MTIME_S,
                size=content.stat().st_size,
                data=stream,
            )
