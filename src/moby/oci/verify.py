"""Every blob of a store compared with its name, and every image looked at for what it lacks."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from moby.errors import IntegrityError
from moby.oci import pool
from moby.oci.digest import Digest
from moby.oci.manifest import REF_NAME, Descriptor, Index
from moby.oci.store import Store

_CHUNK = 1 << 20
_PARALLEL = 2
_MAX_DEPTH = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Something wrong: a blob that is not what its ``digest`` says, or a ``name`` whose image lacks something."""

    what: str
    digest: Digest | None = None
    name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was checked and what is wrong with it."""

    images: int
    blobs: int
    size_bytes: int
    damages: tuple[Damage, ...]


def verify(store: Store, names: Sequence[str] = (), *, repair: bool = False) -> Report:
    """Check all of ``store``, or the images called ``names`` alone. ``repair`` deletes blobs that are not right.

    Raises ``IntegrityError`` when the store's index cannot be read.
    """
    roots = [each for each in store.roots() if not names or _name(each) in names]
    looked = _Look(store)
    for root in roots:
        looked.at(root, _name(root))
    blobs = [(digest, size) for digest, size in store.blobs() if not names or digest in looked.blobs]
    damaged = _damaged(store, [digest for digest, _ in blobs])
    for damage in damaged if repair else ():
        assert damage.digest is not None, "a blob"
        store.delete(damage.digest)
    return Report(
        images=len(roots),
        blobs=len(blobs),
        size_bytes=sum(size for _, size in blobs),
        damages=(*damaged, *looked.damages),
    )


class _Look:
    """Follows names; ``blobs`` is what they lead to, ``damages`` what is missing there."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.blobs: set[Digest] = set()
        self.damages: list[Damage] = []

    def at(self, descriptor: Descriptor, name: str, depth: int = _MAX_DEPTH) -> None:
        """A manifest or index. What an index names and was never pulled is no damage; of an image all must be here."""
        self.blobs.add(descriptor.digest)
        try:
            content = self._store.read_manifest(descriptor)
        except IntegrityError as error:
            self.damages.append(Damage(what=f"{descriptor.digest}: {error.what}", name=name))
            return
        if isinstance(content, Index):
            for each in content.manifests if depth else ():
                if self._store.has(each):
                    self.at(each, name, depth - 1)
            return
        for each in (content.config, *content.layers):
            self.blobs.add(each.digest)
            if not self._store.has(each) and not each.urls:
                what = f"lacks {each.digest} ({each.size} bytes) of {descriptor.digest}"
                self.damages.append(Damage(what=what, name=name))


def _damaged(store: Store, digests: Sequence[Digest]) -> list[Damage]:
    found: list[Damage] = []

    def check(digest: Digest, stop: threading.Event) -> None:
        try:
            with store.open_blob(digest) as stream:
                while stream.read(_CHUNK) and not stop.is_set():
                    pass
        except IntegrityError as error:
            found.append(Damage(what=error.what, digest=digest))
        except OSError as error:
            found.append(Damage(what=f"cannot be read: {error.strerror}", digest=digest))

    pool.each(digests, check, parallel=_PARALLEL)
    return sorted(found, key=lambda damage: str(damage.digest))


def _name(root: Descriptor) -> str:
    return (root.annotations or {}).get(REF_NAME, "")
