"""The PKCS #7 SignedData inside an Authenticode signature (RFC 2315, 9).

One signer, RSA PKCS #1 v1.5 with SHA-256, certificates included, no time stamp.
"""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from moby.errors import IntegrityError
from moby.formats import authenticode_keys, der
from moby.formats.authenticode_keys import Signer

SHA256 = der.sequence(der.oid("2.16.840.1.101.3.4.2.1"), der.null())
_SIGNED_DATA = der.oid("1.2.840.113549.1.7.2")
_CONTENT_TYPE = der.oid("1.2.840.113549.1.9.3")
_MESSAGE_DIGEST = der.oid("1.2.840.113549.1.9.4")
_RSA = der.sequence(der.oid("1.2.840.113549.1.1.1"), der.null())


def sign(content_type: bytes, content: bytes, signer: Signer) -> bytes:
    """A ContentInfo with ``content`` (a DER element) of this type (a DER object identifier), signed."""
    certificate = signer.certificate.public_bytes(serialization.Encoding.DER)
    attributes = _attributes(content_type, content)
    signature = signer.key.sign(der.set_of(*attributes), padding.PKCS1v15(), hashes.SHA256())
    signer_info = der.sequence(
        der.integer(1),
        der.sequence(signer.certificate.issuer.public_bytes(), der.integer(signer.certificate.serial_number)),
        SHA256,
        der.explicit(0, *sorted(attributes)),
        _RSA,
        der.octets(signature),
    )
    signed = der.sequence(
        der.integer(1),
        der.set_of(SHA256),
        der.sequence(content_type, der.explicit(0, content)),
        der.explicit(0, certificate),
        der.set_of(signer_info),
    )
    return der.sequence(_SIGNED_DATA, der.explicit(0, signed))


def _attributes(content_type: bytes, content: bytes) -> list[bytes]:
    """What is signed: the type of the content, and the hash of it without its own tag and length."""
    digest = hashlib.sha256(der.first(content).content).digest()
    return [
        der.sequence(_CONTENT_TYPE, der.set_of(content_type)),
        der.sequence(_MESSAGE_DIGEST, der.set_of(der.octets(digest))),
    ]


def verify(data: bytes, content_type: bytes) -> tuple[der.Element, x509.Certificate]:
    """The content of a ContentInfo and the certificate whose key signed it.

    Raises ``IntegrityError`` when the signature is wrong, or of a kind that this module does not make.
    """
    info = der.first(data)
    signed = info.child(1, 0)
    if info.child(0).raw != _SIGNED_DATA or signed.child(2, 0).raw != content_type:
        raise IntegrityError("the signature is of another kind")
    content = signed.child(2, 1, 0)
    signers = signed.children()[-1].children()
    if len(signers) != 1:
        raise IntegrityError(f"a signature of {len(signers)} signers")
    return content, _signer(signers[0], content_type, content, signed)


def _signer(info: der.Element, content_type: bytes, content: der.Element, signed: der.Element) -> x509.Certificate:
    """The certificate that a SignerInfo names, once its signature was found to be good."""
    name, algorithm, attributes, signature = info.child(1), info.child(2), info.child(3), info.child(5)
    if algorithm.raw != SHA256 or attributes.tag != 0xA0:
        raise IntegrityError("the signature does not use SHA-256")
    said = sorted(each.raw for each in attributes.children() if each.child(0).raw in (_CONTENT_TYPE, _MESSAGE_DIGEST))
    if said != sorted(_attributes(content_type, content.raw)):
        raise IntegrityError("the signature is for other content")
    issued_by = name.child(0).raw, int.from_bytes(name.child(1).content, "big")
    held = [part for part in signed.children()[3:] if part.tag == 0xA0]
    certificates = [authenticode_keys.certificate(each.raw) for part in held for each in part.children()]
    names = [(each.issuer.public_bytes(), each.serial_number) for each in certificates]
    if issued_by not in names:
        raise IntegrityError("the signer's certificate is not in the signature")
    certificate = certificates[names.index(issued_by)]
    key = certificate.public_key()
    if not isinstance(key, rsa.RSAPublicKey):
        raise IntegrityError("the signer's key is not RSA")
    try:
        message = der.encode(der.SET, attributes.content)
        key.verify(signature.content, message, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature as error:
        raise IntegrityError("the signature is wrong") from error
    return certificate
