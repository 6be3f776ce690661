"""One pull from one place: an image for one platform, into the store.

Source: OCI distribution specification 1.1, "Pull". The manifest is checked against its digest before it is believed,
an index leads to the wanted platform's manifest only, and the name is given last, when every blob is in the store.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.http import redact
from moby.oci import attestations
from moby.oci.digest import Digest
from moby.oci.document import Document, checked
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
from moby.oci.store import Store

_MAX_DEPTH = 3
# What the indexes of one image may send us to; real ones need one or two manifests of a kilobyte, with SBOMs some more.
_MAX_CHILDREN = 256
_MAX_CHILDREN_BYTES = 8 << 20
# Looks at what the name means before anything below it is pulled; raises to refuse it.
Check = Callable[[Document], None]


class Place(Protocol):
    """Where images are pulled from. All but ``url``, which names things in messages, raise what ``Pull.run`` does."""

    def url(self, kind: str, name: str) -> str:
        """Where a manifest or blob is."""
        ...

    def manifest(self, locator: str, *, digest: Digest | None = None) -> Document:
        """The manifest or index of a tag or digest, checked."""
        ...

    def child(self, descriptor: Descriptor) -> Document:
        """The manifest that an index names, checked."""
        ...

    def fetch(self, blobs: Sequence[Descriptor], store: Store) -> None:
        """Let ``store`` have all ``blobs``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Pull:
    """One pull from one place. ``documents`` are the manifests to store once all they point at is stored.

    The place knows it as ``locator``, the store keeps it as ``name`` with ``notes`` as annotations; both are the
    reference's own where they are None. With ``expected`` no other image (its manifest's digest) is taken.
    """

    place: Place
    reference: Reference
    platform: Platform
    store: Store
    check: Check | None = None
    expected: Digest | None = None
    locator: str | None = None
    name: str | None = None
    notes: Mapping[str, str] | None = None
    documents: list[Document] = field(default_factory=list)
    children: list[Descriptor] = field(default_factory=list)

    def run(self) -> Image:
        """Store the image and name it. Raises ``RegistryError``, ``IntegrityError`` or ``PlatformError``."""
        self._find()
        return self.take()

    def look(self) -> Image:
        """What ``take`` will give; so far only the configuration is in the store, and nothing has a name.

        Raises as ``run``.
        """
        manifest = self._find()
        self._fetch([manifest.config])
        config, found = self.store.read_config(manifest), self.documents[-1].descriptor
        return Image(
            reference=self.reference,
            digest=found.digest,
            platform=found.platform or config.platform,
            config=config,
            layers=manifest.layers,
            root=self.documents[0].descriptor,
        )

    def take(self) -> Image:
        """The rest, after ``look``. Raises as ``run``."""
        root, manifest = self.documents[0].descriptor, self.documents[-1].content
        assert isinstance(manifest, Manifest)
        self._fetch([manifest.config, *manifest.layers])
        self.store.read_config(manifest)
        self._attestations()
        for document in reversed([each for each in self.documents if not self.store.has(each.descriptor)]):
            self.store.ingest(io.BytesIO(document.data), document.descriptor)
        name = str(self.reference) if self.name is None else self.name
        self.store.tag(name, root.changed(annotations=self.notes))
        image = self.store.below(self.reference, root, self.platform)
        if image is None:
            raise RegistryError("the image was removed from the store while it was pulled", fix="try again")
        return image

    def _attestations(self) -> None:
        """The SBOMs that the index has about the image; one that cannot be had is only said."""
        *indexes, chosen = list(self.documents)
        for above in indexes:
            assert isinstance(above.content, Index)
            for each in attestations.about(above.content, chosen.descriptor.digest):
                try:
                    document = self._child(each)
                    if isinstance(document.content, Manifest):
                        self._fetch([document.content.config, *attestations.statements(document.content)])
                        self.documents.append(document)
                except RegistryError as error:
                    log.info(f"{self.reference}: its SBOM is left out: {error}")

    def _find(self) -> Manifest:
        """The manifest for the platform, at or below what the name means."""
        locator = self.reference.locator if self.locator is None else self.locator
        document = self.place.manifest(locator, digest=self.reference.digest)
        manifest = self._choose(document, _MAX_DEPTH)
        if manifest is None:
            offered = ", ".join(document.content.platforms) if isinstance(document.content, Index) else ""
            fix = f"it is there for {offered}" if offered else ""
            url = redact(self.place.url("manifests", locator))
            raise RegistryError(f"the image is not there for {self.platform}", where=url, fix=fix)
        found = self.documents[-1].descriptor.digest
        if self.expected not in (None, found):
            what = f"its mirrors differ, or it changed while it was pulled: {self.expected} became {found}"
            raise RegistryError(what, where=redact(self.place.url("manifests", locator)), fix="try again")
        if self.check is not None:
            self.check(document)
        self._bound(manifest)
        return manifest

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
        self.children.append(descriptor)
        if len(self.children) > _MAX_CHILDREN or sum(each.size for each in self.children) > _MAX_CHILDREN_BYTES:
            where = self.place.url("manifests", self.reference.locator)
            what = f"its indexes lead to more than {_MAX_CHILDREN} manifests, or {_MAX_CHILDREN_BYTES} bytes of them"
            raise IntegrityError(what, where=redact(where))
        if descriptor.size > MAX_MANIFEST_BYTES or not self.store.has(descriptor):
            return self.place.child(descriptor)
        data = self.store.read_blob(descriptor.digest, MAX_MANIFEST_BYTES)
        return checked(data, descriptor, where=str(descriptor.digest))

    def _suits(self, manifest: Manifest) -> bool:
        """Whether an image that its index gives no platform is for the wanted one: its configuration says."""
        self._bound(manifest)
        self._fetch([manifest.config])
        return self.platform.accepts(self.store.read_config(manifest).platform)

    def _fetch(self, blobs: Sequence[Descriptor]) -> None:
        self.place.fetch(blobs, self.store)

    def _bound(self, manifest: Manifest) -> None:
        if manifest.config.size > MAX_CONFIG_BYTES:
            where = self.place.url("blobs", str(manifest.config.digest))
            raise IntegrityError(f"image configuration of {manifest.config.size} bytes announced", where=redact(where))
