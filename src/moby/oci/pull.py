"""One pull from one server: an image for one platform, into the store.

Source: OCI distribution specification 1.1, "Pull". The manifest is checked against its digest before it is believed,
an index leads to the wanted platform's manifest only, and the name is given last, when every blob is in the store.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import httpx

from moby.errors import IntegrityError, RegistryError
from moby.http import redact
from moby.oci.digest import Digest, mismatch
from moby.oci.download import Downloads
from moby.oci.endpoint import Endpoint
from moby.oci.image import Image
from moby.oci.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_CONFIG_BYTES,
    MAX_MANIFEST_BYTES,
    Descriptor,
    Index,
    Manifest,
    Platform,
    decode,
)
from moby.oci.reference import Reference
from moby.oci.session import Session
from moby.oci.store import Store

_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
_MAX_DEPTH = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One pull from one server. ``documents`` are the manifests to store once all they point at is stored."""

    session: Session
    endpoint: Endpoint
    reference: Reference
    platform: Platform
    store: Store
    documents: list[tuple[Descriptor, bytes]] = field(default_factory=list)

    def run(self) -> Image:
        """Store the image and name it. Raises ``RegistryError``, ``IntegrityError`` or ``PlatformError``."""
        root, manifest = self._root()
        downloads = Downloads(session=self.session, endpoint=self.endpoint, store=self.store)
        self._bound(manifest)
        downloads.fetch([manifest.config, *manifest.layers])
        self.store.read_config(manifest)
        for descriptor, data in reversed(self.documents):
            with self.store.writer(descriptor) as writer:
                writer.write(data)
                writer.commit()
        self.store.tag(str(self.reference), root)
        image = self.store.find(self.reference, self.platform)
        if image is None:
            raise RegistryError("the image was removed from the store while it was pulled", fix="try again")
        return image

    def _root(self) -> tuple[Descriptor, Manifest]:
        """The descriptor of what the name means, and the manifest below it for the platform."""
        url = self.endpoint.url("manifests", self.reference.locator)
        data, headers = self.session.read(url, MAX_MANIFEST_BYTES, endpoint=self.endpoint, headers=_ACCEPT)
        promised = self.reference.digest or _promised(headers, url)
        digest = promised or Digest.of(data)
        digest.check(data, where=redact(url))
        media_type = headers.get("content-type", "").partition(";")[0].strip()
        document = decode(data, media_type, where=redact(url))
        descriptor = Descriptor(media_type=document.media_type, digest=digest, size=len(data))
        manifest = self._choose(descriptor, data, document, _MAX_DEPTH)
        if manifest is None:
            offered = ", ".join(document.platforms) if isinstance(document, Index) else ""
            fix = f"it is there for {offered}" if offered else ""
            raise RegistryError(f"the image is not there for {self.platform}", where=redact(url), fix=fix)
        return descriptor, manifest

    def _choose(self, descriptor: Descriptor, data: bytes, document: Manifest | Index, depth: int) -> Manifest | None:
        """The manifest for the platform at or below a document; what leads to it goes to ``documents``."""
        self.documents.append((descriptor, data))
        if isinstance(document, Manifest):
            return document
        for each in document.candidates(self.platform) if depth else ():
            found = self._choose(each, *self._child(each), depth - 1)
            if found is not None and (each.platform is not None or self._suits(found)):
                return found
            del self.documents[-1]
        return None

    def _child(self, descriptor: Descriptor) -> tuple[bytes, Manifest | Index]:
        """A manifest that an index names, from the store or the registry."""
        url = self.endpoint.url("manifests", str(descriptor.digest))
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise IntegrityError(f"manifest of {descriptor.size} bytes announced", where=redact(url))
        if self.store.has(descriptor):
            data = self.store.read_blob(descriptor.digest, MAX_MANIFEST_BYTES)
        else:
            data, _ = self.session.read(url, MAX_MANIFEST_BYTES, endpoint=self.endpoint, headers=_ACCEPT)
        if len(data) != descriptor.size:
            raise mismatch(descriptor.digest, descriptor.size, Digest.of(data), len(data), where=redact(url))
        descriptor.digest.check(data, where=redact(url))
        return data, decode(data, descriptor.media_type, where=redact(url))

    def _suits(self, manifest: Manifest) -> bool:
        """Whether an image that its index gives no platform is for the wanted one: its configuration says."""
        self._bound(manifest)
        Downloads(session=self.session, endpoint=self.endpoint, store=self.store).fetch([manifest.config])
        return self.platform.accepts(self.store.read_config(manifest).platform)

    def _bound(self, manifest: Manifest) -> None:
        if manifest.config.size > MAX_CONFIG_BYTES:
            where = self.endpoint.url("blobs", str(manifest.config.digest))
            raise IntegrityError(f"image configuration of {manifest.config.size} bytes announced", where=redact(where))


def _promised(headers: httpx.Headers, url: str) -> Digest | None:
    """The digest in the response's header. It is optional, and a broken one is worth nothing."""
    text = headers.get("docker-content-digest")
    try:
        return Digest.parse(text) if text else None
    except IntegrityError as error:
        raise RegistryError("the registry sent a broken digest", where=redact(url)) from error
