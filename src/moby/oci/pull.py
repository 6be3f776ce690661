"""One pull from one server: an image for one platform, into the store.

Source: OCI distribution specification 1.1, "Pull". The manifest is checked against its digest before it is believed,
an index leads to the wanted platform's manifest only, and the name is given last, when every blob is in the store.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.http import redact
from moby.oci import attestations
from moby.oci.download import Downloads
from moby.oci.image import Image
from moby.oci.manifest import (
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    Platform,
)
from moby.oci.reference import Reference
from moby.oci.remote import Document, Remote, checked
from moby.oci.store import Store

_MAX_DEPTH = 3
# Looks at what the name means, and where it came from, before anything below it is pulled; raises to refuse it.
Check = Callable[[Document, Remote], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One pull from one server. ``documents`` are the manifests to store once all they point at is stored."""

    remote: Remote
    reference: Reference
    platform: Platform
    store: Store
    check: Check | None = None
    documents: list[Document] = field(default_factory=list)

    def run(self) -> Image:
        """Store the image and name it. Raises ``RegistryError``, ``IntegrityError`` or ``PlatformError``."""
        root, manifest = self._root()
        if self.check is not None:
            self.check(self.documents[0], self.remote)
        self._bound(manifest)
        self._fetch([manifest.config, *manifest.layers])
        self.store.read_config(manifest)
        self._attestations(downloads)
        for document in reversed(self.documents):
            self.store.ingest(io.BytesIO(document.data), document.descriptor)
        self.store.tag(str(self.reference), root)
        image = self.store.find(self.reference, self.platform)
        if image is None:
            raise RegistryError("the image was removed from the store while it was pulled", fix="try again")
        return image

    def _attestations(self, downloads: Downloads) -> None:
        """The SBOMs that the index has about the image; one that cannot be had is only said."""
        *indexes, chosen = list(self.documents)
        for above in indexes:
            assert isinstance(above.content, Index)
            for each in attestations.about(above.content, chosen.descriptor.digest):
                try:
                    document = self._child(each)
                    if isinstance(document.content, Manifest):
                        downloads.fetch([document.content.config, *attestations.statements(document.content)])
                        self.documents.append(document)
                except RegistryError as error:
                    log.info(f"{self.reference}: its SBOM is left out: {error}")

    def _root(self) -> tuple[Descriptor, Manifest]:
        """The descriptor of what the name means, and the manifest below it for the platform."""
        document = self.remote.manifest(self.reference.locator, digest=self.reference.digest)
        manifest = self._choose(document, _MAX_DEPTH)
        if manifest is None:
            offered = ", ".join(document.content.platforms) if isinstance(document.content, Index) else ""
            fix = f"it is there for {offered}" if offered else ""
            url = redact(self.remote.url("manifests", self.reference.locator))
            raise RegistryError(f"the image is not there for {self.platform}", where=url, fix=fix)
        return document.descriptor, manifest

    def _choose(self, document: Document, depth: int) -> Manifest | None:
        """The manifest for the platform at or below a document; what leads to it goes to ``documents``."""
        self.documents.append(document)
        if isinstance(document.content, Manifest):
            return document.content
        for each in document.content.candidates(self.platform) if depth else ():
            found = self._choose(self._child(each), depth - 1)
            if found is not None and (each.platform is not None or self._suits(found)):
                return found
            del self.documents[-1]
        return None

    def _child(self, descriptor: Descriptor) -> Document:
        """A manifest that an index names, from the store or the registry."""
        if descriptor.size > MAX_MANIFEST_BYTES or not self.store.has(descriptor):
            return self.remote.child(descriptor)
        data = self.store.read_blob(descriptor.digest, MAX_MANIFEST_BYTES)
        return checked(data, descriptor, where=str(descriptor.digest))

    def _suits(self, manifest: Manifest) -> bool:
        """Whether an image that its index gives no platform is for the wanted one: its configuration says."""
        self._bound(manifest)
        self._fetch([manifest.config])
        return self.platform.accepts(self.store.read_config(manifest).platform)

    def _fetch(self, blobs: Sequence[Descriptor]) -> None:
        Downloads(session=self.remote.session, endpoint=self.remote.endpoint, store=self.store).fetch(blobs)

    def _bound(self, manifest: Manifest) -> None:
        if manifest.config.size > MAX_CONFIG_BYTES:
            where = self.remote.url("blobs", str(manifest.config.digest))
            raise IntegrityError(f"image configuration of {manifest.config.size} bytes announced", where=redact(where))
