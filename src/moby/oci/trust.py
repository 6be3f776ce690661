"""Which images must be signed, and whether they are.

What must be: the images and organisations of the YAML's ``trust:``; with keys but neither list, every image. Images
built here (``localhost/moby/…``) are never asked for: nobody else can have put them into the store.

What verifies: a signature of cosign's, by one of the keys, of the manifest or index that the image's name means. The
store is asked first, then the registry; what verified is kept in the store, so the next build needs no network.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moby import log
from moby.errors import ConfigError, IntegrityError, PlatformError, RegistryError
from moby.oci.image import Image
from moby.oci.manifest import MAX_MANIFEST_BYTES, Descriptor, Platform
from moby.oci.pem import PublicKey
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from moby.oci.trust_signatures import Kept, Online, Search, Shelf, Signature

if TYPE_CHECKING:
    from moby.oci.document import Document
    from moby.oci.remote import Remote

_LOCAL = ("localhost", "moby")
_FIX = "sign it: cosign sign --key, or moby cache push --sign; is the right key under trust: keys?"


class Policy(enum.StrEnum):
    """What to do about an image that should be signed and is not."""

    REQUIRE = "require"
    WARN = "warn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """What must be signed, by whom. ``policy`` is None when nobody said: then keys require, and none warn."""

    images: tuple[Reference, ...] = ()
    organisations: tuple[str, ...] = ()
    keys: tuple[PublicKey, ...] = ()
    policy: Policy | None = None

    def __post_init__(self) -> None:
        if self.policy is Policy.REQUIRE and not self.keys:
            fix = "list public keys under trust: keys, or give --key FILE"
            what = "signatures are required, but there is no key to verify them with"
            raise ConfigError(what, where="--policy require", fix=fix)

    @property
    def is_asked(self) -> bool:
        """Whether there is anything to verify or to warn about."""
        return bool(self.images or self.organisations or self.keys)

    @property
    def enforces(self) -> bool:
        """Whether an image without a good signature ends the build."""
        return bool(self.keys) and self.policy is not Policy.WARN

    def covers(self, reference: Reference) -> bool:
        """Whether the image must be signed."""
        first = reference.repository.partition("/")[0]
        if (reference.registry, first) == _LOCAL:
            return False
        if not self.images and not self.organisations:
            return bool(self.keys)
        return any(_means(each, reference) for each in self.images) or any(
            _belongs(reference, each) for each in self.organisations
        )


def _means(listed: Reference, reference: Reference) -> bool:
    """Whether ``listed`` names the image: without a tag or digest it names all of its repository."""
    if (_host(listed), listed.repository) != (_host(reference), reference.repository):
        return False
    if listed.digest is not None and reference.digest not in (None, listed.digest):
        return False
    # What a digest alone names may have any tag.
    tag = reference.tag or ("latest" if reference.digest is None else None)
    return listed.tag is None or tag in (None, listed.tag)


def _host(reference: Reference) -> str:
    """The registry by one name, where it has several."""
    name = reference.registry.lower()
    return "docker.io" if name in ("index.docker.io", "registry-1.docker.io") else name


def _belongs(reference: Reference, organisation: str) -> bool:
    """Whether an image is an organisation's: ``ORG`` on any registry, ``HOST`` as a whole, or ``HOST/ORG``."""
    host, slash, rest = organisation.strip("/").partition("/")
    if not ("." in host or ":" in host or host == "localhost"):
        return f"{reference.repository}/".startswith(f"{organisation.strip('/')}/")
    if host.lower() != _host(reference):
        return False
    return not slash or f"{reference.repository}/".startswith(f"{rest}/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """Holds images to ``trust``. ``registry`` is None when it may not be asked."""

    trust: Trust
    store: Store
    registry: Registry | None = None

    def covers(self, reference: Reference) -> bool:
        """Whether ``before`` and ``after`` have something to say about the image."""
        return bool(self.trust.keys) and self.trust.covers(reference)

    def before(self, reference: Reference, document: Document, remote: Remote) -> None:
        """Verify what a registry says that the name means, before anything else of it is pulled.

        Raises ``IntegrityError`` when a signature is required and there is no good one, ``RegistryError`` when the
        registry does not answer.
        """
        if not self.trust.enforces:
            return
        image = _Root(reference=reference, descriptor=document.descriptor, data=document.data)
        kept = Kept(store=self.store, reference=reference)
        if self._verified(image, kept, []):
            return
        faults: list[str] = []
        if not self._verified(image, Online(remote=remote), faults):
            self._refuse(image, faults)

    def after(self, image: Image, platform: Platform) -> None:
        """Verify an image of the store, without the network when its signature is there too.

        Raises ``IntegrityError`` when a signature is required and there is no good one.
        """
        found = self.store.meaning(image.reference, platform)
        if found is None or found[1].digest != image.digest:
            raise IntegrityError("changed in the store while it was used", where=str(image.reference), fix="try again")
        data = self.store.read_blob(found[0].digest, MAX_MANIFEST_BYTES)
        root = _Root(reference=image.reference, descriptor=found[0], data=data)
        faults: list[str] = []
        if self._verified(root, Kept(store=self.store, reference=image.reference), faults):
            return
        if not self._verified_online(root, faults):
            self._refuse(root, faults)

    def _verified_online(self, root: _Root, faults: list[str]) -> bool:
        if self.registry is None or root.reference.registry == "localhost":
            faults.append("the registry was not asked")
            return False

        def ask(remote: Remote) -> bool:
            if not self._verified(root, Online(remote=remote), faults):
                raise IntegrityError("no good signature there")
            return True

        try:
            return self.registry.first(root.reference, ask)
        except IntegrityError:
            return False
        except RegistryError as error:
            faults.append(str(error))
            return False

    def _verified(self, root: _Root, shelf: Shelf, faults: list[str]) -> bool:
        """Whether a signature on ``shelf`` is good; it is then kept in the store."""
        search = Search(shelf=shelf, digest=root.descriptor.digest, image=root.data, faults=faults)
        for signature in search.signatures():
            try:
                key = signature.claim.check(root.descriptor.digest, self.trust.keys)
            except IntegrityError as error:
                faults.append(error.what)
                continue
            log.debug(f"{root.reference} ({root.descriptor.digest}) is signed with {key.name or key.hint}")
            if not isinstance(shelf, Kept):
                self._keep(root, signature)
            return True
        return False

    def _keep(self, root: _Root, signature: Signature) -> None:
        try:
            Kept(store=self.store, reference=root.reference).keep(signature, root.descriptor.digest)
        except PlatformError as error:
            log.debug(f"the signature of {root.reference} is not kept: {error}")

    def _refuse(self, root: _Root, faults: Sequence[str]) -> None:
        found = "; ".join(dict.fromkeys(faults)) or "it has none"
        what = f"no good signature for {root.descriptor.digest}: {found}"
        if self.trust.enforces:
            raise IntegrityError(what, where=str(root.reference), fix=_FIX)
        log.info(f"warning: {root.reference}: {what}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Root:
    """What a name means: ``data`` are the bytes of the manifest or index that must be signed."""

    reference: Reference
    descriptor: Descriptor
    data: bytes
