"""One push to one registry: blobs, then manifests, then the name, which keeps every other platform's image.

Source: OCI distribution specification 1.1, "Push". It has no conditional writes, so a name that several push at once is
read, joined, compared once more, written, and looked at again after a moment: who lost an entry adds it anew.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from moby import log
from moby.errors import ConfigError, IntegrityError, RegistryError
from moby.http import redact
from moby.oci import indexes, walk
from moby.oci.digest import Digest
from moby.oci.document import Document
from moby.oci.manifest import MAX_CONFIG_BYTES, OCI_INDEX, Descriptor, ImageConfig, Index, Manifest
from moby.oci.reference import Reference
from moby.oci.refusal import refusal
from moby.oci.remote import Remote
from moby.oci.session import Call
from moby.oci.store import Store
from moby.oci.upload import Uploads

_ROUNDS = 10
_SETTLE_S = 0.5


class Outcome(enum.StrEnum):
    """What a push came to. ``KEPT``: the name has another image for a platform, which only ``override`` replaces."""

    PUSHED = "pushed"
    UNCHANGED = "unchanged"
    KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pushed:
    """What a name means after a push."""

    digest: Digest
    outcome: Outcome
    platforms: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """From ``store`` to the repository of ``remote``, whose endpoint must be one to write to.

    With ``override`` an image that the name has for a platform is replaced by ours; with ``arch_tags`` each image is
    also tagged ``TAG-ARCHITECTURE``. ``sources`` are repositories that may have a blob already.
    """

    remote: Remote
    store: Store
    override: bool = False
    arch_tags: bool = False
    sources: Mapping[Digest, Sequence[str]] = field(default_factory=dict)

    def run(self, root: Descriptor, tag: str) -> Pushed:
        """Push what ``root`` names. Raises ``RegistryError``, or ``IntegrityError`` when the store lacks it."""
        ours = self._ours(root)
        there = self.remote.found(tag)
        if there is not None and (settled := self._settled(there, ours)):
            return settled
        for each in ours.nodes:
            self._upload(each)
        if self.arch_tags:
            self._tag_each(ours, tag)
        return self._publish(ours, tag)

    def _ours(self, root: Descriptor) -> _Ours:
        top = walk.node(self.store, root)
        complete = [each for each in top.below if each.complete] if top else []
        if top is None or not (top.complete or complete):
            fix = "pull or build it first"
            raise IntegrityError("the store has not all of this image", where=str(root.digest), fix=fix)
        entries = walk.entries(self.store, top)
        if top.complete:
            return _Ours(nodes=list(top.below or (top,)), entries=entries, data=top.document.data, kind=root.media_type)
        here = {each.get("digest") for each in entries}
        listed = indexes.entries(top.document.data)
        left = [indexes.platform(each) for each in listed if each.get("digest") not in here]
        log.info(f"not in the store, so not pushed: {', '.join(left)}")
        return _Ours(nodes=complete, entries=entries, data=indexes.encode(entries), kind=OCI_INDEX)

    def _settled(self, there: Document, ours: _Ours) -> Pushed | None:
        """The result when nothing has to be pushed."""
        entries = self._entries(there)
        digest = there.descriptor.digest
        if indexes.conflicts(entries, ours.entries) and not self.override:
            return Pushed(digest=digest, outcome=Outcome.KEPT, platforms=_platforms(entries))
        data, _ = self._joined(there, ours)
        if data == there.data:
            return Pushed(digest=digest, outcome=Outcome.UNCHANGED, platforms=_platforms(entries))
        return None

    def _upload(self, top: walk.Node) -> None:
        """Everything below and at a manifest, by digest."""
        session, endpoint = self.remote.session, self.remote.endpoint
        uploads = Uploads(session=session, endpoint=endpoint, store=self.store, sources=self.sources)
        for each in top.every():
            uploads.send([blob for blob in each.blobs if not walk.is_foreign(blob)])
            put(self.remote, str(each.descriptor.digest), each.document.data, each.descriptor.media_type)

    def _tag_each(self, ours: _Ours, tag: str) -> None:
        for each in ours.nodes:
            if isinstance(each.document.content, Manifest) and not each.descriptor.is_attestation:
                config = self.store.read_config(each.document.content)
                architecture = (each.descriptor.platform or config.platform).architecture
                put(self.remote, f"{tag}-{architecture}", each.document.data, each.descriptor.media_type)

    def _publish(self, ours: _Ours, tag: str) -> Pushed:
        for attempt in range(_ROUNDS):
            there = self.remote.found(tag)
            if there is not None and attempt and (settled := self._settled(there, ours)):
                return settled if settled.outcome is Outcome.KEPT else replace(settled, outcome=Outcome.PUSHED)
            data, media_type = self._joined(there, ours)
            if self.remote.digest(tag) != (there.descriptor.digest if there else None):
                continue
            put(self.remote, tag, data, media_type)
            self.remote.session.sleep(_SETTLE_S)
            after = self.remote.found(tag)
            if after is not None and not indexes.missing(entries := self._entries(after), ours.entries):
                return Pushed(digest=after.descriptor.digest, outcome=Outcome.PUSHED, platforms=_platforms(entries))
            log.debug(f"{tag} was changed by another push; joining again")
        what = f"others changed the name {_ROUNDS} times while it was pushed"
        raise RegistryError(what, where=redact(self.remote.url("manifests", tag)), fix="try again")

    def _joined(self, there: Document | None, ours: _Ours) -> tuple[bytes, str]:
        """The document to publish, and its type: theirs or ours as it is where nothing has to be added to it."""
        if there is None:
            return ours.data, ours.kind
        entries = self._entries(there)
        joined = indexes.join(entries, ours.entries)
        digests = {each.get("digest") for each in joined}
        if digests == {each.get("digest") for each in ours.entries}:
            return ours.data, ours.kind
        if digests == {each.get("digest") for each in entries}:
            return there.data, there.descriptor.media_type
        return indexes.encode(joined), OCI_INDEX

    def _entries(self, there: Document) -> list[indexes.Entry]:
        """What a remote name has: the entries of its index, or one made for its only image."""
        if isinstance(there.content, Index):
            return indexes.entries(there.data)
        config = ImageConfig.decode(self.remote.blob(there.content.config, MAX_CONFIG_BYTES))
        return [there.descriptor.changed(platform=config.platform).wire()]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ours:
    """What is pushed: the manifests, their index entries, and the document that has them all."""

    nodes: Sequence[walk.Node]
    entries: Sequence[indexes.Entry]
    data: bytes
    kind: str


def put(remote: Remote, locator: str, data: bytes, media_type: str) -> None:
    """Store a manifest under a tag or its digest. Raises ``RegistryError``."""
    url = remote.url("manifests", locator)
    call = Call(method="PUT", url=url, endpoint=remote.endpoint, headers={"Content-Type": media_type}, content=data)
    with remote.session.open(call) as response:
        if response.status_code not in (200, 201, 202):
            raise refusal(response, url)
        named = response.headers.get("docker-content-digest", "")
    if named.startswith("sha256:") and named != str(Digest.of(data)):
        raise RegistryError(f"the registry stored {named[:80]} in place of {Digest.of(data)}", where=redact(url))


def known_sources(store: Store, registry: str, repository: str) -> dict[Digest, list[str]]:
    """Repositories of ``registry`` that probably have blobs of the store: those its images are named after."""
    found: dict[Digest, list[str]] = {}
    for name in store.names():
        try:
            reference = Reference.parse(name)
        except ConfigError:  # other tools name images as they like
            continue
        if reference.registry != registry or reference.repository == repository:
            continue
        for blob in _blobs(store, store.descriptors(name)):
            found.setdefault(blob.digest, []).append(reference.repository)
    return found


def _blobs(store: Store, roots: Sequence[Descriptor]) -> Iterator[Descriptor]:
    for top in (walk.node(store, root) for root in roots):
        for each in top.every() if top else ():
            yield from each.blobs


def _platforms(entries: Sequence[indexes.Entry]) -> tuple[str, ...]:
    return tuple(sorted(indexes.platform(each) for each in entries if indexes.subject(each) is None))
