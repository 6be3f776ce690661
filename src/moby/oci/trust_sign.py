"""Signing an image that a registry has: beside it there, and in the store."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.oci import cosign
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_MANIFEST, Manifest, decode
from moby.oci.pem import PrivateKey
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from moby.oci.trust_signatures import MAX_CONFIG_BYTES, Kept, Online

if TYPE_CHECKING:
    from moby.oci.remote import Remote

_ROUNDS = 5


def sign(digest: Digest, key: PrivateKey, *, reference: Reference, registry: Registry, store: Store) -> str:
    """Sign the image ``digest`` of the reference's repository, and give the name of the signature.

    Signatures by others stay; one by this key is not made twice. A registry writes tags without conditions, so a
    signature that another signer overwrote is added again. Raises ``RegistryError`` or ``IntegrityError``.
    """
    remote = registry.origin(reference).to_write()
    kept = Kept(store=store, reference=reference)
    with log.step(f"Signing {digest}"):
        for _ in range(_ROUNDS):
            before = _before(remote, store, digest)
            if before is not None and _has(before, store, digest, key):
                return kept.name(cosign.tag(digest))
            signed = cosign.sign(reference, digest, key, before=before)
            kept.keep_signed(signed)
            _put(remote, store, signed)
    what = f"others changed the signatures {_ROUNDS} times while one was added"
    raise RegistryError(what, where=kept.name(cosign.tag(digest)), fix="try again")


def _before(remote: Remote, store: Store, digest: Digest) -> Manifest | None:
    """The signatures that are there; they come into the store with their blobs, so that it has all of them."""
    shelf = Online(remote=remote)
    tagged = shelf.tagged(cosign.tag(digest))
    if tagged is None:
        return None
    manifest = decode(shelf.manifest(tagged), tagged.media_type, where=cosign.tag(digest))
    if not isinstance(manifest, Manifest) or len(manifest.layers) >= cosign.MAX_CLAIMS:
        fix = "remove the tag from the registry, and sign anew"
        raise IntegrityError("the registry has something there to which no signature can be added", fix=fix)
    for each in (manifest.config, *manifest.layers):
        store.ingest(io.BytesIO(shelf.blob(each, MAX_CONFIG_BYTES)), each)
    return manifest


def _has(manifest: Manifest, store: Store, digest: Digest, key: PrivateKey) -> bool:
    """Whether one of the signatures is this key's already."""
    for layer in cosign.claims(manifest):
        try:
            claim = cosign.read(layer, store.read_blob(layer.digest, cosign.MAX_CLAIM_BYTES), b"")
            claim.check(digest, (key.public,))
        except IntegrityError:
            continue
        return True
    return False


def _put(remote: Remote, store: Store, signed: cosign.Signed) -> None:
    from moby.oci.push import put
    from moby.oci.upload import Uploads

    manifest = decode(signed.manifest, OCI_MANIFEST)
    assert isinstance(manifest, Manifest)
    uploads = Uploads(session=remote.session, endpoint=remote.endpoint, store=store)
    uploads.send([manifest.config, *manifest.layers])
    put(remote, signed.tag, signed.manifest, OCI_MANIFEST)
