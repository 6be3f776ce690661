"""Signatures of images in the two forms that cosign writes, and the older of them written.

Simple signing: the manifest ``sha256-HEX.sig`` beside the image; each layer is a JSON payload that names the image's
digest, the signature over the payload's bytes stands in the layer's annotations. Bundle: a Sigstore bundle in a
manifest whose subject is the image; in it a DSSE envelope around an in-toto statement, or a signature over the bytes of
the image's own manifest. Only signatures by a plain key are looked at: no certificates, no transparency log.

Sources: cosign's specs/SIGNATURE_SPEC.md, sigstore/protobuf-specs (bundle 0.3, JSON form), DSSE protocol 1.0, in-toto
Statement 1.0, containers/image's simple signing payload.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from moby.errors import IntegrityError
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_CONFIG, Descriptor, Manifest
from moby.oci.pem import PrivateKey, PublicKey
from moby.oci.reference import Reference

SIMPLE_SIGNING = "application/vnd.dev.cosign.simplesigning.v1+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MAX_CLAIMS = 64
MAX_CLAIM_BYTES = 256 << 10
_BUNDLES = "application/vnd.dev.sigstore.bundle"
# What cosign 3 writes into the index that stands in for the referrers API, whatever the manifest's own type is.
_UNSAID = "application/vnd.oci.empty.v1+json"
_SIGNATURE = "dev.cosignproject.cosign/signature"
_CONTAINER = "cosign container image signature"
_STATEMENT = "application/vnd.in-toto+json"
_SIGNED = "https://sigstore.dev/cosign/sign/v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Somebody's statement that he signed images with these digests: not believed before ``check``."""

    digests: tuple[str, ...]
    message: bytes
    signatures: tuple[bytes, ...]

    def check(self, digest: Digest, keys: Sequence[PublicKey]) -> PublicKey:
        """The key of ``keys`` that signed the image ``digest``. Raises ``IntegrityError`` that says what is wrong."""
        if str(digest) not in self.digests:
            raise IntegrityError(f"a signature of another image, {', '.join(self.digests)[:200]}")
        for key in keys:
            if any(key.verifies(each, self.message) for each in self.signatures):
                return key
        raise IntegrityError("a signature by another key, or a forged one")


def tag(digest: Digest) -> str:
    """The tag of an image's simple signatures."""
    return f"{digest.algorithm}-{digest.hex}.sig"


def is_bundle(descriptor: Descriptor) -> bool:
    """Whether a referrer, or a layer, may be a bundle."""
    said = (descriptor.artifact_type, descriptor.media_type)
    return any((each or "").startswith(_BUNDLES) for each in said) or descriptor.artifact_type in (None, "", _UNSAID)


def claims(manifest: Manifest) -> tuple[Descriptor, ...]:
    """The layers of a signature manifest that hold claims. Raises ``IntegrityError`` when there are too many."""
    found = tuple(
        each for each in manifest.layers if each.media_type == SIMPLE_SIGNING or each.media_type.startswith(_BUNDLES)
    )
    if len(found) > MAX_CLAIMS:
        raise IntegrityError(f"{len(found)} signatures in one manifest; {MAX_CLAIMS} are allowed")
    return found


def read(layer: Descriptor, data: bytes, image: bytes) -> Claim:
    """The claim in a layer; ``image`` is the manifest of the image. Raises ``IntegrityError`` when it is none."""
    if layer.media_type == SIMPLE_SIGNING:
        return _simple(data, (layer.annotations or {}).get(_SIGNATURE, ""))
    return _bundle(data, image)


def _text(value: object) -> bytes:
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


_Base64 = Annotated[bytes, PlainValidator(_text)]


class _Json(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)


class _Named(_Json):
    digest: str = Field(alias="docker-manifest-digest")


class _Critical(_Json):
    image: _Named
    type: str


class _Payload(_Json):
    critical: _Critical


class _Subject(_Json):
    digest: Mapping[str, str]


class _Statement(_Json):
    type: Literal["https://in-toto.io/Statement/v1", "https://in-toto.io/Statement/v0.1"] = Field(alias="_type")
    subject: Annotated[tuple[_Subject, ...], Field(max_length=MAX_CLAIMS)]
    predicate: str = Field(alias="predicateType")


class _Signature(_Json):
    sig: _Base64


class _Envelope(_Json):
    payload: _Base64
    payload_type: str = Field(alias="payloadType")
    signatures: Annotated[tuple[_Signature, ...], Field(min_length=1, max_length=16)]


class _Message(_Json):
    signature: _Base64


class _Bundle(_Json):
    envelope: _Envelope | None = Field(None, alias="dsseEnvelope")
    message: _Message | None = Field(None, alias="messageSignature")


_Model = TypeVar("_Model", bound=_Json)


def _decoded(model: type[_Model], data: bytes, what: str) -> _Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"])) or "document"
        raise IntegrityError(f"{what} that cannot be read ({place}: {first['msg'][:120]})") from error


def _simple(data: bytes, signature: str) -> Claim:
    critical = _decoded(_Payload, data, "a signature's payload").critical
    if critical.type != _CONTAINER:
        raise IntegrityError(f"a signature of another kind, {critical.type[:80]!r}")
    try:
        raw = _text(signature)
    except ValueError as error:
        raise IntegrityError("a signature that is not base64") from error
    return Claim(digests=(critical.image.digest,), message=data, signatures=(raw,))


def _bundle(data: bytes, image: bytes) -> Claim:
    bundle = _decoded(_Bundle, data, "a bundle")
    if bundle.message is not None and bundle.envelope is None:
        own = (str(Digest.of(image)), str(Digest.of(image, "sha512")))
        return Claim(digests=own, message=image, signatures=(bundle.message.signature,))
    if bundle.envelope is None or bundle.message is not None:
        raise IntegrityError("a bundle without one signature")
    envelope = bundle.envelope
    if envelope.payload_type != _STATEMENT:
        raise IntegrityError(f"a bundle with a payload of another kind, {envelope.payload_type[:80]!r}")
    statement = _decoded(_Statement, envelope.payload, "a bundle's statement")
    if statement.predicate != _SIGNED:
        raise IntegrityError(f"a statement and no signature, {statement.predicate[:80]!r}")
    return Claim(
        digests=tuple(f"{name}:{value}" for each in statement.subject for name, value in each.digest.items()),
        message=_pre_authenticated(envelope),
        signatures=tuple(each.sig for each in envelope.signatures),
    )


def _pre_authenticated(envelope: _Envelope) -> bytes:
    """The bytes that a DSSE signature is made over."""
    kind = envelope.payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(envelope.payload), envelope.payload)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A manifest of simple signatures to be stored under ``tag``, with the blobs that are new in it."""

    tag: str
    manifest: bytes
    blobs: tuple[bytes, ...]


def sign(reference: Reference, digest: Digest, key: PrivateKey, *, before: Manifest | None = None) -> Signed:
    """Sign the image ``digest`` of the reference's repository; signatures in ``before`` stay beside the new one."""
    payload = _payload(reference, digest)
    added = Descriptor(
        media_type=SIMPLE_SIGNING,
        digest=Digest.of(payload),
        size=len(payload),
        annotations={_SIGNATURE: base64.b64encode(key.sign(payload)).decode()},
    )
    layers = (*(before.layers if before else ()), added)
    config = json.dumps(
        {
            "architecture": "",
            "os": "",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [str(each.digest) for each in layers]},
        },
        separators=(",", ":"),
    ).encode()
    described = Descriptor(media_type=OCI_CONFIG, digest=Digest.of(config), size=len(config))
    manifest = Manifest(config=described, layers=layers, annotations=before.annotations if before else None)
    return Signed(tag=tag(digest), manifest=manifest.encode(), blobs=(config, payload))


def _payload(reference: Reference, digest: Digest) -> bytes:
    critical = {
        "identity": {"docker-reference": f"{reference.registry}/{reference.repository}"},
        "image": {"docker-manifest-digest": str(digest)},
        "type": _CONTAINER,
    }
    return json.dumps({"critical": critical, "optional": None}, separators=(",", ":")).encode()
