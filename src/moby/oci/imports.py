"""Images of a file under their names in a store, beside what those names have for other platforms."""

from __future__ import annotations

from collections.abc import Sequence

from moby.errors import ConfigError, IntegrityError
from moby.oci import indexes, walk
from moby.oci.local import Layout, Named
from moby.oci.manifest import OCI_INDEX, Descriptor
from moby.oci.reference import Reference
from moby.oci.store import Store


def load(store: Store, layout: Layout, *, name: str = "") -> tuple[str, ...]:
    """Put the images of ``layout`` into ``store`` and give the names they have there.

    ``name`` is for the only one. Raises ``ConfigError`` when a name is missing, ``IntegrityError`` when an image is not
    all there.
    """
    if name and len(layout.images) != 1:
        raise ConfigError(f"it holds {len(layout.images)} images; --name is for one", where=layout.where)
    named = [(each, [Reference.parse(name).expanded] if name else _names(each, layout.where)) for each in layout.images]
    if not named:
        raise IntegrityError("it holds no images", where=layout.where)
    source = store if layout.root is None else Store(layout.root)
    for image, names in named:
        top = _copied(store, source, image, layout.where)
        for each in names:
            store.change(each, lambda known, top=top: _joined(store, known, top))  # type: ignore[misc]  # bound at once
    return tuple(each for _, names in named for each in names)


def _names(image: Named, where: str) -> list[str]:
    """The names to import an image under. A bare tag, which some tools write, is none."""
    whole = [each for each in image.names if "/" in each or ":" in each]
    if not whole:
        fix = "name it: moby cache import --name ORG/NAME:TAG"
        raise ConfigError(f"the image {image.descriptor.digest} has no name", where=where, fix=fix)
    return [Reference.parse(each).expanded for each in (whole[:1] if image.aliases else whole)]


def _copied(store: Store, source: Store, image: Named, where: str) -> walk.Node:
    """The image, with everything of it that is complete in ``store``."""
    bare = image.descriptor.changed(annotations=None, platform=None)
    top = walk.node(source, bare)
    nodes = [each for each in top.every() if each.complete] if top else []
    if top is None or not nodes:
        raise IntegrityError(f"it lacks blobs of {image.names[0] if image.names else bare.digest}", where=where)
    if source is not store:
        for blob in [blob for each in nodes for blob in (*each.blobs, each.descriptor)] + [top.descriptor]:
            if source.has(blob) and not store.has(blob):
                with source.open_blob(blob.digest) as stream:
                    store.ingest(stream, blob)
    return top


def _joined(store: Store, known: Sequence[Descriptor], top: walk.Node) -> Descriptor:
    """What the name will mean: the new image, and the old one's other platforms."""
    old = [entry for each in known if (before := walk.node(store, each)) for entry in walk.entries(store, before)]
    new = walk.entries(store, top)
    joined = indexes.join(old, new)
    if {each.get("digest") for each in joined} == {each.get("digest") for each in new}:
        return top.descriptor
    return store.put_blob(indexes.encode(joined), OCI_INDEX)
