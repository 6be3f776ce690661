"""The files around the blobs of an OCI image layout: ``oci-layout``, ``index.json`` and the lock.

An image's name is the annotation ``org.opencontainers.image.ref.name`` of its descriptor in ``index.json``, which is
replaced by rename under the lock. It stays JSON here, because what other tools put into it must survive our changes.
Source: OCI image specification 1.1, "Image Layout".
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

from moby import unchanged
from moby.errors import ConfigError, IntegrityError
from moby.oci import blob, lock
from moby.oci.manifest import OCI_INDEX, REF_NAME, Descriptor
from moby.oci.wire import Malformed

MAX_INDEX_BYTES = 64 << 20
Entries = tuple[tuple[str, Descriptor], ...]
_MARKER = b'{"imageLayoutVersion": "1.0.0"}'


class Layout:
    """The layout at ``root``, made on first change."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._index = root / "index.json"
        self._lock = root / ".lock"
        self._read: tuple[unchanged.State, Entries] | None = None

    def entries(self) -> Entries:
        """Every name with what it points at, in the file's order. Raises ``IntegrityError`` for a damaged file.

        A build asks some dozens of times, so the answer is kept for as long as the file is the same.
        """
        with lock.shared(self._lock):
            begin_ns = time.time_ns()
            try:
                state = unchanged.state(self._index)
            except OSError:
                state = None
            if self._read is not None and self._read[0] == state:
                return self._read[1]
            found = tuple(listed(self._load(), where=str(self._index)))
        # One that has just changed may do so again within a tick of the clock, without a trace.
        self._read = (state, found) if state and state[2] < begin_ns - unchanged.TICK_NS else None
        return found

    def every(self) -> list[Descriptor]:
        """What every entry points at, named or not. Raises ``IntegrityError`` for a damaged file."""
        with lock.shared(self._lock):
            index = self._load()
        where = str(self._index)
        return [_descriptor(entry, _name(entry) or "an entry", where) for entry in _manifests(index, where)]

    @contextlib.contextmanager
    def changing(self) -> Iterator[dict[str, object]]:
        """The index to change in place, under the lock; it is written when the block ends well."""
        self.create()
        with lock.exclusive(self._lock):
            blob.sweep(self._root)
            index = self._load()
            yield index
            blob.replace(self._index, json.dumps(index, separators=(",", ":")).encode())

    def create(self) -> None:
        """Make what a layout must have. Raises ``ConfigError`` when the directory is a layout of another version."""
        marker = self._root / "oci-layout"
        with blob.writing(self._root):
            if marker.exists():
                self._check(marker)
                return
            self._root.mkdir(parents=True, exist_ok=True)
            blob.replace(marker, _MARKER)

    def _check(self, marker: Path) -> None:
        try:
            version = json.loads(marker.read_bytes()[:4096]).get("imageLayoutVersion", "")
        except (ValueError, AttributeError):
            version = "?"
        if not str(version).startswith("1."):
            fix = "choose another --cache directory"
            raise ConfigError(f"image layout of unknown version {version!r}", where=str(marker), fix=fix)

    def _load(self) -> dict[str, object]:
        try:
            with self._index.open("rb") as stream:
                data = stream.read(MAX_INDEX_BYTES + 1)
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}
        try:
            index = json.loads(data)
        except ValueError as error:
            raise _damaged(str(self._index), "not JSON") from error
        if not isinstance(index, dict):
            raise _damaged(str(self._index), "not an image index")
        return index


def listed(index: dict[str, object], *, where: str = "index.json") -> list[tuple[str, Descriptor]]:
    """The named descriptors of ``index``. Raises ``IntegrityError`` when it is damaged."""
    found = []
    for entry in _manifests(index, where):
        name = _name(entry)
        if name is None:
            continue
        found.append((name, _descriptor(entry, name, where)))
    return found


def put(index: dict[str, object], name: str, descriptor: Descriptor) -> None:
    """Let ``name`` mean ``descriptor`` and nothing else."""
    drop(index, name)
    named = {**(descriptor.annotations or {}), REF_NAME: name}
    entry = descriptor.changed(annotations=named).wire()
    index["manifests"] = [*_manifests(index, name), entry]


def drop(index: dict[str, object], name: str) -> None:
    """Forget ``name``, if it is there."""
    index["manifests"] = [entry for entry in _manifests(index, name) if _name(entry) != name]


def _manifests(index: dict[str, object], where: str) -> list[object]:
    entries = index.get("manifests")
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise _damaged(where, "manifests is not a list")
    return entries


def _descriptor(entry: object, name: str, where: str) -> Descriptor:
    try:
        return Descriptor.read(entry)
    except Malformed as error:
        raise _damaged(where, f"{name}: {error}") from error


def _name(entry: object) -> str | None:
    annotations = entry.get("annotations") if isinstance(entry, dict) else None
    name = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
    return name if isinstance(name, str) else None


def _damaged(where: str, why: str) -> IntegrityError:
    fix = "move the store's directory away; images are then pulled and built again"
    return IntegrityError(f"the image store is damaged: {why}", where=where, fix=fix)
