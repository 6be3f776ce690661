"""The SBOM inside a machine: an SPDX document, the last file of its root, that accounts for all others.

Every image that is unpacked into the machine is a package, and so is what the YAML itself gives; each of them contains
its files. Packages inside of an image come from the SPDX documents that its builder attached to it (as the original
merges them), else from the package database among its files.

What an image adds is taken down while its files stream by and is kept, by the digest of the image and the place where
it is unpacked, so that a build that only changes other things does not hash it again.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from moby.formats import spdx
from moby.formats.entry import DIRECTORY, FILE, Entry
from moby.oci.store import Store
from moby.plan import Plan
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.sbom.document import Document
from moby.rootfs.sbom.fragment import Cache, Fragment
from moby.rootfs.sbom.hashing import hashed
from moby.rootfs.sbom.parts import Part, generated, parts
from moby.rootfs.sbom.recorder import Recorder

DEFAULT_PATH = "sbom.spdx.json"
ORIGIN = "sbom"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sbom:
    """That a machine shall have an SBOM at ``path``; ``created`` is the time it says (RFC 3339, UTC).

    ``cache`` is a directory for what can be used again.
    """

    cache: Path
    path: str = DEFAULT_PATH
    created: str = spdx.FIXED_CREATED


class Inventory:
    """One pass over the entries of a root. ``watch`` them all, then ``entry`` is the SBOM."""

    def __init__(self, plan: Plan, store: Store, sbom: Sbom, *, decompress_kernel: bool = False) -> None:
        self._store = store
        self._sbom = sbom
        self._cache = Cache(sbom.cache)
        self._parts = parts(plan, store, decompress_kernel=decompress_kernel)
        self._by_origin = {origin: part for part in self._parts for origin in part.origins}
        self._generated = generated(plan)
        self._found: dict[str, Fragment] = {}
        self._own: dict[str, str] = {}
        self._taken = {sbom.path}
        self._recorder: Recorder | None = None
        for part in self._parts:
            if fragment := self._cache.find(part.key):
                self._found[part.key] = fragment

    def wants(self, origin: str) -> bool:
        """Whether it must see the entries of ``origin``'s image: they are not known from an earlier build."""
        part = self._by_origin.get(origin)
        return part is not None and part.key not in self._found

    def watch(self, entries: Iterable[Entry], *, prefix: str = "") -> Iterator[Entry]:
        """``entries`` as they are; the files of each part come together. ``prefix`` belongs before their paths."""
        current = ""
        part: Part | None = None
        try:
            for entry in entries:
                if entry.origin != current:
                    current = entry.origin
                    part = self._by_origin.get(current)
                    self._begin(part)
                recorder = self._recorder
                if part is None or (not prefix and entry.path in self._generated):
                    yield from self._configured(entry)
                elif recorder is None:
                    yield entry
                elif path := recorder.plain(entry, prefix):
                    yield entry
                    recorder.take(entry, path)
                else:
                    yield from recorder.watch(entry, prefix)
            self._begin(None)
        finally:
            if self._recorder is not None:
                self._recorder.writer.close()
                self._recorder = None

    def watch_made(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """``entries`` as they are, none of which comes from an image."""
        for entry in entries:
            if entry.kind is DIRECTORY and entry.origin in self._by_origin:
                yield entry
            else:
                yield from self._configured(entry)

    @contextlib.contextmanager
    def entry(self) -> Iterator[Entry]:
        """The document as a file of the root."""
        given = [(part, self._found[part.key]) for part in self._parts if part.key in self._found]
        with Document(given, list(self._own.items()), self._taken).write(created=self._sbom.created) as out:
            size = out.seek(0, os.SEEK_END)
            out.seek(0)
            data, path = cast(BinaryIO, out), self._sbom.path
            yield Entry(path=path, kind=FILE, mtime_s=FIXED_MTIME_S, size=size, data=data, origin=ORIGIN)

    def _begin(self, part: Part | None) -> None:
        """The entries of ``part`` follow."""
        recorder = self._recorder
        if recorder is not None and (part is None or part.key != recorder.part.key):
            self._found[recorder.part.key] = self._cache.keep(recorder.part.key, recorder.finish(), code=recorder.code)
            self._recorder = None
        if self._recorder is None and part is not None and part.key not in self._found:
            self._recorder = Recorder(part, self._store)

    def _configured(self, entry: Entry) -> Iterator[Entry]:
        """A file of the YAML, or one made from it; of two with one path the later wins."""
        if entry.kind is FILE:
            with hashed(entry) as (passed, sha1):
                yield passed
            self._own[entry.path] = sha1()
        else:
            yield entry
            self._own.pop(entry.path, None)
        if entry.kind is not DIRECTORY:
            self._taken.add(entry.path)
