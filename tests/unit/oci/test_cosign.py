from __future__ import annotations

import base64
import json
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.oci import cosign, pem
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_MANIFEST, Descriptor, Manifest, decode
from moby.oci.reference import Reference
from tests.support.cosign import FOLDER, PASSWORD, Document, Vector, key, vector

SIGNED = ("simple", "bundle", "simple-rsa", "simple-p384", "simple-ed25519", "bundle-rsa", "bundle-p384", "blob")
OTHER = Digest.of(b"another image")


def claims(made: Vector) -> list[cosign.Claim]:
    documents = made.referrers or ((made.tagged,) if made.tagged else ())
    return [claim for document in documents for claim in inside(document, made.image)]


def inside(document: Document, image: bytes) -> list[cosign.Claim]:
    manifest = decode(document.data, document.media_type)
    assert isinstance(manifest, Manifest)
    blobs = {Digest.of(each): each for each in document.blobs}
    return [cosign.read(each, blobs[each.digest], image) for each in cosign.claims(manifest)]


@pytest.mark.parametrize("name", SIGNED)
@pytest.mark.shows("Signatures by cosign 2 and cosign 3 are verified: ECDSA, RSA, Ed25519", by="peer")
def test_what_cosign_signed_is_verified(name: str) -> None:
    made = vector(name)
    found = claims(made)
    assert found
    for each in found:
        assert each.check(made.digest, [made.key]) == made.key


@pytest.mark.parametrize("name", SIGNED)
def test_a_signature_is_of_one_image_and_by_one_key(name: str) -> None:
    made = vector(name)
    wrong = key("rsa" if made.key.name != "rsa.pub" else "cosign")
    for each in claims(made):
        with pytest.raises(IntegrityError, match="of another image"):
            each.check(OTHER, [made.key])
        with pytest.raises(IntegrityError, match="by another key, or a forged one"):
            each.check(made.digest, [wrong])
        with pytest.raises(IntegrityError, match="by another key"):
            each.check(made.digest, [])


def test_an_attestation_is_no_signature() -> None:
    with pytest.raises(IntegrityError, match=r"a statement and no signature, 'https://cosign.sigstore.dev/attest"):
        claims(vector("attestation"))


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(("simple", "bundle", "bundle-p384", "blob")), st.data())
def test_nothing_that_was_altered_verifies(name: str, data: st.DataObject) -> None:
    made = vector(name)
    claim = claims(made)[0]
    which = data.draw(st.sampled_from(("message", "signature")))
    original = claim.message if which == "message" else claim.signatures[0]
    at, bit = data.draw(st.integers(0, len(original) - 1)), 1 << data.draw(st.integers(0, 7))
    altered = original[:at] + bytes((original[at] ^ bit,)) + original[at + 1 :]
    message, signature = (altered, claim.signatures[0]) if which == "message" else (claim.message, altered)
    forged = cosign.Claim(digests=claim.digests, message=message, signatures=(signature,))
    with pytest.raises(IntegrityError):
        forged.check(made.digest, [made.key])


def simple(payload: object, signature: str = "AAAA") -> cosign.Claim:
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    annotations = {"dev.cosignproject.cosign/signature": signature}
    layer = Descriptor(
        media_type=cosign.SIMPLE_SIGNING, digest=Digest.of(data), size=len(data), annotations=annotations
    )
    return cosign.read(layer, data, b"")


def critical(kind: str = "cosign container image signature") -> dict[str, object]:
    return {"critical": {"image": {"docker-manifest-digest": str(OTHER)}, "type": kind, "identity": {}}}


@pytest.mark.parametrize(
    ("payload", "signature", "message"),
    [
        (b"", "AAAA", "payload that cannot be read"),
        (b"[]", "AAAA", "payload that cannot be read"),
        (b"{" * 5000, "AAAA", "payload that cannot be read"),
        ({"critical": {"type": "x"}}, "AAAA", r"payload that cannot be read .critical.image"),
        (critical("atomic container signature"), "AAAA", "of another kind, 'atomic"),
        (critical(), "not base64!", "not base64"),
    ],
)
def test_a_payload_that_means_something_else_is_refused(payload: object, signature: str, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        simple(payload, signature)


def bundle(document: Mapping[str, object] | bytes) -> cosign.Claim:
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    layer = Descriptor(media_type=cosign.BUNDLE, digest=Digest.of(data), size=len(data))
    return cosign.read(layer, data, b"image")


def envelope(payload: object, kind: str = "application/vnd.in-toto+json") -> dict[str, object]:
    packed = base64.b64encode(json.dumps(payload).encode()).decode()
    return {"dsseEnvelope": {"payload": packed, "payloadType": kind, "signatures": [{"sig": "AAAA"}]}}


STATEMENT: dict[str, object] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"digest": {"sha256": OTHER.hex}}],
    "predicateType": "https://sigstore.dev/cosign/sign/v1",
}


def test_a_bundle_is_about_all_its_subjects() -> None:
    assert bundle(envelope(STATEMENT)).digests == (str(OTHER),)
    two = {**STATEMENT, "subject": [{"digest": {"sha256": "a", "sha512": "b"}}, {"digest": {"sha256": "c"}}]}
    assert bundle(envelope(two)).digests == ("sha256:a", "sha512:b", "sha256:c")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        (b"", "a bundle that cannot be read"),
        ({}, "a bundle without one signature"),
        ({**envelope(STATEMENT), "messageSignature": {"signature": "AAAA"}}, "a bundle without one signature"),
        (envelope(STATEMENT, "text/plain"), "payload of another kind, 'text/plain'"),
        (envelope([]), "a bundle's statement that cannot be read"),
        (envelope({**STATEMENT, "_type": "x"}), "a bundle's statement that cannot be read"),
        (envelope({**STATEMENT, "predicateType": "https://spdx.dev/Document"}), "a statement and no signature"),
        (envelope({**STATEMENT, "subject": [{"digest": {}}] * 65}), "a bundle's statement that cannot be read"),
        ({"dsseEnvelope": {"payload": "", "payloadType": "x", "signatures": []}}, "a bundle that cannot be read"),
        ({"messageSignature": {"signature": "%"}}, "not base64"),
    ],
)
def test_a_bundle_that_means_something_else_is_refused(document: dict[str, object] | bytes, message: str) -> None:
    with pytest.raises(IntegrityError, match=message):
        bundle(document)


def test_more_signatures_than_anybody_makes_are_refused() -> None:
    layer = Descriptor(media_type=cosign.SIMPLE_SIGNING, digest=OTHER, size=1)
    config = Descriptor(media_type="x", digest=OTHER, size=1)
    with pytest.raises(IntegrityError, match="65 signatures in one manifest; 64 are allowed"):
        cosign.claims(Manifest(config=config, layers=(layer,) * 65))


def test_what_is_signed_here_verifies_and_keeps_what_was_there() -> None:
    reference, digest = Reference.parse("quay.io/org/x:1"), Digest.of(b"image")
    private = pem.private_key((FOLDER / "cosign.key").read_text(), PASSWORD.encode, name="cosign.key")
    first = cosign.sign(reference, digest, private)
    assert first.tag == f"sha256-{digest.hex}.sig"
    before = decode(first.manifest, OCI_MANIFEST)
    assert isinstance(before, Manifest)
    second = cosign.sign(reference, digest, private, before=before)
    document = Document(media_type=OCI_MANIFEST, data=second.manifest, blobs=(*first.blobs, *second.blobs))
    found = inside(document, b"image")
    assert [each.check(digest, [key("cosign")]).name for each in found] == ["cosign.pub"] * 2
    payload = json.loads(found[0].message)
    assert payload["critical"]["identity"] == {"docker-reference": "quay.io/org/x"}
