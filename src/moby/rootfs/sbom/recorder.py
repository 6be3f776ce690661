"""Takes down the files of one image while they stream by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator

from moby.formats import spdx
from moby.formats.entry import DIRECTORY, FILE, HARDLINK, Entry
from moby.oci import attestations
from moby.oci.store import Store
from moby.rootfs.sbom.attested import Attested
from moby.rootfs.sbom.databases import Databases
from moby.rootfs.sbom.fragment import OTHERS, Writer
from moby.rootfs.sbom.hashing import hashed
from moby.rootfs.sbom.parts import Part


class Recorder:
    """One part's fragment in the making: first what is attested about its image, then its files, then packages."""

    def __init__(self, part: Part, store: Store) -> None:
        self.part = part
        self._id = part.id
        self.writer = Writer()
        self._databases = Databases(part.prefix)
        self._hashes: dict[str, str] = {}
        self._count = 0
        self._attested: set[str] = set()
        self._packages = 0
        self._sha1s = bytearray()
        for number, descriptor in enumerate(part.statements):
            text = store.read_blob(descriptor.digest, attestations.MAX_BYTES).decode("utf-8", "replace")
            document = Attested(text, owner=part.id, number=number, prefix=part.prefix, where=str(descriptor.digest))
            document.write(self._add)
            self._attested |= document.paths
            self._packages += document.packages

    def plain(self, entry: Entry, prefix: str) -> str:
        """The path of a file at hand whose contents matter to nobody else, at ``prefix``; nearly all are such."""
        if entry.kind is not FILE or type(entry.data) is not bytes:
            return ""
        path = prefix + entry.path
        return path if self._databases.sink(path) is None else ""

    def take(self, entry: Entry, path: str) -> None:
        """Take down a plain file."""
        if entry.links == 1 and path in self._attested:
            self._count += 1
            return
        assert isinstance(entry.data, bytes)
        self._file(entry, path, hashlib.sha1(entry.data).hexdigest())

    def watch(self, entry: Entry, prefix: str) -> Iterator[Entry]:
        """Any other entry, for whoever wants it; afterwards it is taken down."""
        path = prefix + entry.path
        if entry.kind is FILE:
            with hashed(entry, self._databases.sink(path)) as (passed, sha1):
                yield passed
            self._file(entry, path, sha1())
            return
        yield entry
        if entry.kind is HARDLINK and prefix + entry.target in self._hashes:
            self._file(entry, path, self._hashes[prefix + entry.target])
        elif entry.kind is not DIRECTORY:
            self.writer.add(OTHERS, json.dumps(path).encode())

    def finish(self) -> Writer:
        """The fragment, with the packages that the image's databases list unless it came with a document of them."""
        owner = self.part.id
        for number, (package, locator) in enumerate(self._databases.packages() if not self._packages else ()):
            identifier = f"{owner}-p{number}"
            reference = [spdx.purl_reference(locator)]
            element = spdx.package(
                identifier, package.name, version=package.version, filesAnalyzed=False, externalRefs=reference
            )
            self.writer.add("packages", spdx.line(element))
            self.writer.add("relationships", spdx.relationship(owner, "CONTAINS", identifier))
        return self.writer

    def _file(self, entry: Entry, path: str, sha1: str) -> None:
        if entry.links > 1:
            self._hashes[path] = sha1
        if path not in self._attested:
            identifier = f"{self._id}-{self._count}"
            self.writer.add("files", spdx.file_line(identifier, path, sha1))
            self.writer.add("relationships", spdx.relationship(self._id, "CONTAINS", identifier))
            self._sha1s += bytes.fromhex(sha1)
        self._count += 1

    def _add(self, section: str, line: bytes) -> None:
        """One element; a file belongs to the image."""
        self.writer.add(section, line)
        if section == "files":
            self._sha1s += spdx.sha1_of(line)
            contains = spdx.relationship(self.part.id, "CONTAINS", spdx.id_of(line).decode())
            self.writer.add("relationships", contains)

    @property
    def code(self) -> str:
        """The verification code of the files so far; empty when there are none."""
        sha1s = self._sha1s
        return spdx.verification_code(bytes(sha1s[at : at + 20]) for at in range(0, len(sha1s), 20))
