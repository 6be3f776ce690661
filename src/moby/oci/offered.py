"""What a name means now, for every platform: the digests, without an image's layers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from moby import log
from moby.errors import ConfigError, RegistryError
from moby.oci import local
from moby.oci.digest import Digest
from moby.oci.document import Document
from moby.oci.manifest import Descriptor, Index, Manifest
from moby.oci.pull import Place
from moby.oci.reference import Reference, Transport
from moby.oci.registry import Registry
from moby.oci.store import Store

_MAX_DEPTH = 3


def offered(reference: Reference, registry: Registry, store: Store) -> tuple[Digest, dict[str, Digest]]:
    """The digest that a name means, and the manifest of each platform there.

    A file is read, a registry asked; what no registry has, such as an image imported into ``store``, is as that has it.
    Raises ``RegistryError``, ``ConfigError`` or ``IntegrityError``.
    """
    if reference.transport is not None:
        path = Path(reference.repository)
        is_docker = reference.transport is Transport.DOCKER_ARCHIVE
        directory = reference.transport is Transport.OCI
        place = local.layout_of(path, store) if directory else local.archived(path, store, docker=is_docker)
        return _at(place, place.manifest(reference.locator, digest=reference.digest), store)
    try:
        return registry.first(
            reference, lambda remote: _at(remote, remote.manifest(reference.locator, digest=reference.digest), store)
        )
    except RegistryError as error:
        roots = [each for name in reference.names for each in store.descriptors(name)]
        if not roots:
            raise
        log.info(f"{reference}: as the store has it, since the registry gave none: {error.what}")
        place = local.Layout(images=(local.Named(names=(), descriptor=roots[0]),), where=str(store.root), store=store)
        return _at(place, place.child(roots[0]), store)


def _at(place: Place, document: Document, store: Store) -> tuple[Digest, dict[str, Digest]]:
    images: dict[str, Digest] = {}
    for platform, digest in _images(place, document, None, store, _MAX_DEPTH):
        images.setdefault(platform, digest)
    if not images:
        raise ConfigError("it has no image for Linux", where=place.url("manifests", str(document.descriptor.digest)))
    return document.descriptor.digest, images


def _images(
    place: Place, document: Document, above: Descriptor | None, store: Store, depth: int
) -> Iterator[tuple[str, Digest]]:
    if isinstance(document.content, Index):
        for each in document.content.manifests if depth else ():
            if each.is_attestation:
                continue
            if each.platform is not None:
                yield from [(str(each.platform), each.digest)] if each.platform.os == "linux" else []
            else:
                yield from _images(place, place.child(each), each, store, depth - 1)
        return
    assert isinstance(document.content, Manifest), "a document is one or the other"
    place.fetch([document.content.config], store)
    platform = store.read_config(document.content).platform
    if platform.os == "linux":
        yield str(platform), document.descriptor.digest
