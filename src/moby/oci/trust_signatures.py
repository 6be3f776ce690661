"""Where the signatures of an image are: beside it in its registry, or in the store, which keeps what was verified.

The store names them as a registry does: ``REPOSITORY:sha256-HEX.sig`` and, for bundles, the index
``REPOSITORY:sha256-HEX`` (distribution specification 1.1, "Referrers Tag Schema"). So they are verified again without
a network, and copied with the image by any tool.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

from moby.errors import IntegrityError
from moby.oci import cosign
from moby.oci.digest import Digest
from moby.oci.manifest import (
    INDEX_TYPES,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
    decode,
)
from moby.oci.reference import Reference
from moby.oci.store import Store

if TYPE_CHECKING:
    from moby.oci.remote import Remote

_Found = TypeVar("_Found")
_MAX_REFERRERS = 128
MAX_CONFIG_BYTES = 256 << 10


class Shelf(Protocol):
    """A repository that may have signatures. All raise ``RegistryError`` or ``IntegrityError``."""

    def tagged(self, tag: str) -> Descriptor | None:
        """What a tag means, if there is such a tag."""
        ...

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """The manifests whose subject is ``digest``."""
        ...

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A manifest, checked."""
        ...

    def blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """A blob, checked."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A claim, with the manifest that it came in and that manifest's blobs, for keeping."""

    claim: cosign.Claim
    descriptor: Descriptor
    manifest: bytes
    blobs: tuple[tuple[Descriptor, bytes], ...]
    is_bundle: bool


@dataclass(slots=True, kw_only=True)
class Search:
    """The signatures of the image ``digest`` on one shelf. ``faults`` says what was found and is none."""

    shelf: Shelf
    digest: Digest
    image: bytes
    faults: list[str] = field(default_factory=list)

    def signatures(self) -> Iterator[Signature]:
        """Each claim, unverified: simple signatures first, then bundles."""
        tagged = self._looked_up(lambda: self.shelf.tagged(cosign.tag(self.digest)))
        if tagged is not None:
            yield from self._of(tagged, is_bundle=False)
        found = self._looked_up(lambda: self.shelf.referrers(self.digest)) or ()
        referrers = [each for each in found if cosign.is_bundle(each)]
        if len(referrers) > _MAX_REFERRERS:
            self.faults.append(f"{len(referrers)} bundles; only {_MAX_REFERRERS} are looked at")
        for each in referrers[:_MAX_REFERRERS]:
            yield from self._of(each, is_bundle=True)

    def _looked_up(self, look: Callable[[], _Found]) -> _Found | None:
        try:
            return look()
        except IntegrityError as error:
            self.faults.append(str(error))
            return None

    def _of(self, descriptor: Descriptor, *, is_bundle: bool) -> Iterator[Signature]:
        """The claims of one manifest."""
        try:
            data = self.shelf.manifest(descriptor)
            manifest = decode(data, descriptor.media_type, where=str(descriptor.digest))
            if not isinstance(manifest, Manifest):
                raise IntegrityError("an index, where signatures should be")
            layers = cosign.claims(manifest)
            blobs = tuple((each, self.shelf.blob(each, cosign.MAX_CLAIM_BYTES)) for each in layers)
            blobs += ((manifest.config, self.shelf.blob(manifest.config, MAX_CONFIG_BYTES)),) if layers else ()
        except IntegrityError as error:
            self.faults.append(str(error))
            return
        for layer, blob in blobs[: len(layers)]:
            try:
                claim = cosign.read(layer, blob, self.image)
            except IntegrityError as error:
                self.faults.append(error.what)
                continue
            yield Signature(claim=claim, descriptor=descriptor, manifest=data, blobs=blobs, is_bundle=is_bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class Online:
    """A repository of a registry."""

    remote: Remote

    def tagged(self, tag: str) -> Descriptor | None:
        """As ``Shelf`` says."""
        found = self.remote.found(tag)
        return found.descriptor if found is not None else None

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """As ``Shelf`` says. Not filtered by the registry: cosign leaves the type out where there is no API."""
        return self.remote.referrers(digest)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """As ``Shelf`` says."""
        return self.remote.child(descriptor).data

    def blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """As ``Shelf`` says."""
        return self.remote.blob(descriptor, limit_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What the store keeps of a repository's signatures."""

    store: Store
    reference: Reference

    def tagged(self, tag: str) -> Descriptor | None:
        """As ``Shelf`` says."""
        return next(filter(self.store.has, self.store.descriptors(self.name(tag))), None)

    def referrers(self, digest: Digest) -> tuple[Descriptor, ...]:
        """As ``Shelf`` says."""
        index = self.tagged(_index_tag(digest))
        if index is None or index.media_type not in INDEX_TYPES:
            return ()
        document = self.store.read_manifest(index)
        return tuple(filter(self.store.has, document.manifests)) if isinstance(document, Index) else ()

    def manifest(self, descriptor: Descriptor) -> bytes:
        """As ``Shelf`` says."""
        return self.store.read_blob(descriptor.digest, MAX_MANIFEST_BYTES)

    def blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """As ``Shelf`` says."""
        return self.store.read_blob(descriptor.digest, limit_bytes)

    def keep(self, signature: Signature, digest: Digest) -> None:
        """Store a verified signature of the image ``digest``, and name it."""
        descriptor = signature.descriptor.changed(annotations=None, platform=None)
        for each, data in (*signature.blobs, (descriptor, signature.manifest)):
            self.store.ingest(io.BytesIO(data), each)
        if not signature.is_bundle:
            self.store.tag(self.name(cosign.tag(digest)), descriptor)
            return
        bundle = descriptor.changed(artifact_type=cosign.BUNDLE)
        others = [each for each in self.referrers(digest) if each.digest != bundle.digest]
        index = self.store.put_blob(Index(manifests=(*others, bundle)).encode(), OCI_INDEX)
        self.store.tag(self.name(_index_tag(digest)), index)

    def keep_signed(self, signed: cosign.Signed) -> None:
        """Store signatures made here, and name them."""
        for data in signed.blobs:
            self.store.put_blob(data, cosign.SIMPLE_SIGNING)
        self.store.tag(self.name(signed.tag), self.store.put_blob(signed.manifest, OCI_MANIFEST))

    def name(self, tag: str) -> str:
        """The store's name of a tag of this repository."""
        return str(Reference(registry=self.reference.registry, repository=self.reference.repository, tag=tag))


def _index_tag(digest: Digest) -> str:
    return f"{digest.algorithm}-{digest.hex}"[:128]
