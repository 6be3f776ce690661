"""What hangs below a name of the store: its manifests and their blobs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moby.errors import IntegrityError
from moby.oci import indexes
from moby.oci.document import Document, checked
from moby.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Index, Manifest
from moby.oci.store import Store

_MAX_DEPTH = 4
_MAX_NODES = 1024
# Layers that an image names but whose owner lets nobody pass on (image specification 1.0, "Non-Distributable Layers").
_FOREIGN = ("nondistributable", ".foreign.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A manifest of the store; ``complete`` when everything below it is here too."""

    document: Document
    complete: bool
    below: tuple[Node, ...] = ()

    @property
    def descriptor(self) -> Descriptor:
        """What points at it."""
        return self.document.descriptor

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Configuration and layers that it names itself, here or not."""
        content = self.document.content
        return (content.config, *content.layers) if isinstance(content, Manifest) else ()

    def every(self) -> Iterator[Node]:
        """The nodes from the bottom up, this one last."""
        for each in self.below:
            yield from each.every()
        yield self


def node(store: Store, descriptor: Descriptor) -> Node | None:
    """The tree at ``descriptor`` as far as it is in the store; None when that blob is not here.

    Raises ``IntegrityError`` for a manifest that is damaged or of an unknown type, or indexes nested too deep.
    """
    return _node(store, descriptor, _MAX_DEPTH, [])


def _node(store: Store, descriptor: Descriptor, depth: int, seen: list[Descriptor]) -> Node | None:
    if not store.has(descriptor):
        return None
    where = str(descriptor.digest)
    seen.append(descriptor)
    if len(seen) > _MAX_NODES:
        raise IntegrityError(f"leads to more than {_MAX_NODES} manifests", where=where)
    document = checked(store.read_blob(descriptor.digest, MAX_MANIFEST_BYTES), descriptor, where=where)
    if isinstance(document.content, Index):
        if not depth:
            raise IntegrityError(f"indexes are nested more than {_MAX_DEPTH} deep", where=where)
        children = [_node(store, each, depth - 1, seen) for each in document.content.manifests]
        below = tuple(each for each in children if each is not None)
        complete = len(below) == len(children) and all(each.complete for each in below)
        return Node(document=document, complete=complete, below=below)
    blobs = (document.content.config, *document.content.layers)
    return Node(document=document, complete=all(store.has(each) or is_foreign(each) for each in blobs))


def entries(store: Store, top: Node) -> list[indexes.Entry]:
    """The index entries of the complete images at or below ``top``; attestations go with their images."""
    if isinstance(top.document.content, Manifest):
        platform = store.read_config(top.document.content).platform
        bare = Descriptor(media_type=top.descriptor.media_type, digest=top.descriptor.digest, size=top.descriptor.size)
        return [bare.changed(platform=platform).wire()]
    here = {str(each.descriptor.digest) for each in top.below if each.complete}
    return indexes.join((), [each for each in indexes.entries(top.document.data) if each.get("digest") in here])


def is_foreign(layer: Descriptor) -> bool:
    """Whether a layer stays where its owner keeps it."""
    return bool(layer.urls) and any(word in layer.media_type for word in _FOREIGN)
