"""One repository on one server, read: manifests, small blobs and what refers to a digest.

Source: OCI distribution specification 1.1, "Pull", "Content Discovery" and "Referrers Tag Schema". A document is
checked against its digest before it is believed, and every size is bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import httpx

from moby.errors import IntegrityError, RegistryError
from moby.http import redact
from moby.oci.digest import Digest, mismatch
from moby.oci.document import Document, checked
from moby.oci.download import Downloads
from moby.oci.endpoint import Endpoint
from moby.oci.manifest import (
    INDEX_TYPES,
    MANIFEST_TYPES,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    Descriptor,
    Index,
    decode,
)
from moby.oci.refusal import refusal
from moby.oci.session import Call, Session, onward
from moby.oci.store import Store

_ACCEPT = {"Accept": ", ".join((*INDEX_TYPES, *MANIFEST_TYPES))}
_MAX_PAGES = 20
# How registries say that they have no referrers API.
_NO_REFERRERS = (400, 404, 405, 406)


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """The repository of ``endpoint``."""

    session: Session
    endpoint: Endpoint

    def url(self, kind: str, name: str) -> str:
        """Where it has a manifest, a blob or referrers."""
        return self.endpoint.url(kind, name)

    def to_write(self) -> Remote:
        """The same repository with the right to push."""
        return replace(self, endpoint=self.endpoint.to_write())

    def manifest(self, locator: str, *, digest: Digest | None = None) -> Document:
        """The manifest or index of a tag or digest.

        Raises ``RegistryError`` when the registry does not give it, ``IntegrityError`` when it is not what was meant.
        """
        url = self.url("manifests", locator)
        data, headers = self.session.read(url, MAX_MANIFEST_BYTES, endpoint=self.endpoint, headers=_ACCEPT)
        return _document(data, headers, url, digest)

    def child(self, descriptor: Descriptor) -> Document:
        """The manifest that an index names. Raises as ``manifest``."""
        url = self.url("manifests", str(descriptor.digest))
        if descriptor.size > MAX_MANIFEST_BYTES:
            raise IntegrityError(f"manifest of {descriptor.size} bytes announced", where=redact(url))
        data, _ = self.session.read(url, MAX_MANIFEST_BYTES, endpoint=self.endpoint, headers=_ACCEPT)
        return checked(data, descriptor, where=redact(url))

    def fetch(self, blobs: Sequence[Descriptor], store: Store) -> None:
        """Let ``store`` have all ``blobs``; see ``Downloads``."""
        Downloads(session=self.session, endpoint=self.endpoint, store=store).fetch(blobs)

    def found(self, locator: str) -> Document | None:
        """As ``manifest``; None when the registry says that there is none."""
        url = self.url("manifests", locator)
        answer = self.session.fetch(self._call(url, "GET"), MAX_MANIFEST_BYTES, absent=(404,))
        return _document(*answer, url, None) if answer else None

    def digest(self, locator: str) -> Digest | None:
        """What a tag means now, without the document where the registry tells; None when there is no such tag."""
        url = self.url("manifests", locator)
        with self.session.open(self._call(url, "HEAD")) as response:
            if response.status_code == 404:
                return None
            if not response.is_success:
                raise refusal(response, url)
            promised = _promised(response.headers, url)
        return promised or self.manifest(locator).descriptor.digest

    def blob(self, descriptor: Descriptor, limit_bytes: int) -> bytes:
        """A small blob, checked. Raises ``RegistryError`` or ``IntegrityError``."""
        url = self.url("blobs", str(descriptor.digest))
        if descriptor.size > limit_bytes:
            raise IntegrityError(f"{descriptor.size} bytes announced; {limit_bytes} are allowed", where=redact(url))
        data, _ = self.session.read(url, limit_bytes, endpoint=self.endpoint)
        if len(data) != descriptor.size:
            raise mismatch(descriptor.digest, descriptor.size, Digest.of(data), len(data), where=redact(url))
        return descriptor.digest.check(data, where=redact(url))

    def referrers(self, digest: Digest, *, artifact_type: str = "") -> tuple[Descriptor, ...]:
        """The manifests that name ``digest`` as their subject: by the API, else by the tag that stands in for it."""
        found = self._by_api(digest, artifact_type)
        if found is None:
            found = self._by_tag(digest)
        return tuple(each for each in found if not artifact_type or each.artifact_type == artifact_type)

    def _by_api(self, digest: Digest, artifact_type: str) -> list[Descriptor] | None:
        """None when the registry knows no such thing; it need not filter, so the caller does."""
        url = self.url("referrers", str(digest))
        if artifact_type:
            url += "?" + str(httpx.QueryParams({"artifactType": artifact_type}))
        found: list[Descriptor] = []
        for _ in range(_MAX_PAGES):
            answer = self.session.fetch(self._call(url, "GET"), MAX_MANIFEST_BYTES, absent=_NO_REFERRERS)
            if answer is None:
                return None
            data, headers = answer
            found += _entries(data, url)
            following = httpx.Response(200, headers=headers).links.get("next", {}).get("url")
            if not following:
                return found
            url = str(onward(httpx.URL(url), following))
        raise RegistryError(f"more than {_MAX_PAGES} pages of referrers", where=redact(url))

    def _by_tag(self, digest: Digest) -> list[Descriptor]:
        document = self.found(referrers_tag(digest))
        return list(document.content.manifests) if document and isinstance(document.content, Index) else []

    def _call(self, url: str, method: str) -> Call:
        return Call(method=method, url=url, endpoint=self.endpoint, headers=_ACCEPT)


def _document(data: bytes, headers: httpx.Headers, url: str, digest: Digest | None) -> Document:
    digest = digest or _promised(headers, url) or Digest.of(data)
    digest.check(data, where=redact(url))
    media_type = headers.get("content-type", "").partition(";")[0].strip()
    content = decode(data, media_type, where=redact(url))
    descriptor = Descriptor(media_type=content.media_type, digest=digest, size=len(data))
    return Document(descriptor=descriptor, data=data, content=content)


def referrers_tag(digest: Digest) -> str:
    """The tag of the index that lists a digest's referrers where the registry has no API for it."""
    return f"{digest.algorithm}-{digest.hex}"[:128]


def _entries(data: bytes, url: str) -> tuple[Descriptor, ...]:
    content = decode(data, OCI_INDEX, where=redact(url))
    return content.manifests if isinstance(content, Index) else ()


def _promised(headers: httpx.Headers, url: str) -> Digest | None:
    """The digest in the response's header. It is optional, and a broken one is worth nothing."""
    text = headers.get("docker-content-digest")
    try:
        return Digest.parse(text) if text else None
    except IntegrityError as error:
        raise RegistryError("the registry sent a broken digest", where=redact(url)) from error
