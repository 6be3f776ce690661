"""Keys as PEM text: public ones that verify signatures, private ones that make them.

Public keys are SubjectPublicKeyInfo (RFC 5280) as cosign writes and takes them: ECDSA on a NIST curve, RSA of at least
2048 bits, Ed25519. Private keys are PKCS#8 (RFC 5958), or cosign's own form: JSON with a PKCS#8 key in a NaCl secret
box whose key scrypt (RFC 7914) makes of a password.

The cryptography library is imported where it is needed: most builds verify nothing.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError

from moby.errors import ConfigError, IntegrityError
from moby.oci import pem_secretbox

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

    _Public = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey
    _Private = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey

MAX_PEM_BYTES = 64 << 10
_MIN_RSA_BITS = 2048
_MAX_SCRYPT_BYTES = 256 << 20
_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,60})-----\s(.*?)-----END \1-----", re.DOTALL)
_PUBLIC = "PUBLIC KEY"
_PRIVATE = "PRIVATE KEY"
_COSIGN = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")
_KINDS = "ECDSA (P-256, P-384, P-521), RSA of 2048 bits and more, and Ed25519 are"
# The hash that goes with a curve; cosign signed with SHA-256 on every curve before its version 3.
_HASHES = {256: ("SHA256",), 384: ("SHA384", "SHA256"), 521: ("SHA512", "SHA256")}


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key that verifies. ``name`` is where it came from, for messages."""

    name: str
    key: _Public

    @property
    def hint(self) -> str:
        """What signatures name the key by: the SHA-256 of its DER form, in base64."""
        from cryptography.hazmat.primitives import serialization as forms

        der = self.key.public_bytes(forms.Encoding.DER, forms.PublicFormat.SubjectPublicKeyInfo)
        return base64.b64encode(hashlib.sha256(der).digest()).decode()

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Whether ``signature`` over ``message`` was made with this key's private half."""
        from cryptography.exceptions import InvalidSignature

        for attempt in _attempts(self.key):
            try:
                attempt(signature, message)
            except InvalidSignature:
                continue
            return True
        return False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivateKey:
    """A key that signs."""

    name: str
    key: _Private

    @property
    def public(self) -> PublicKey:
        """Its other half."""
        return PublicKey(name=self.name, key=self.key.public_key())

    def sign(self, message: bytes) -> bytes:
        """A signature that cosign verifies: ECDSA in DER, RSA with PKCS#1 v1.5, both over SHA-256; or Ed25519."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            return self.key.sign(message, ec.ECDSA(hashes.SHA256()))
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(message)


def public_keys(text: str, *, name: str) -> tuple[PublicKey, ...]:
    """The public keys in PEM ``text``, at least one. Raises ``ConfigError``."""
    found = []
    for label, body in _BLOCK.findall(text):
        if label != _PUBLIC:
            fix = "give the public key: cosign.pub" if _PRIVATE in label else "give a key, not a certificate"
            raise ConfigError(f"it holds {label}, where a public key is needed", where=name, fix=fix)
        found.append(PublicKey(name=name, key=_public(_decoded(body, name), name)))
    if not found:
        raise ConfigError("it holds no public key", where=name, fix="a PEM file begins -----BEGIN PUBLIC KEY-----")
    return tuple(found)


def private_key(text: str, password: Callable[[], bytes], *, name: str) -> PrivateKey:
    """The private key in PEM ``text``; ``password`` is asked only for a protected one.

    Raises ``ConfigError``, also for a wrong password.
    """
    blocks = [(label, body) for label, body in _BLOCK.findall(text) if _PRIVATE in label]
    if len(blocks) != 1:
        fix = "cosign generate-key-pair makes one, as does openssl genpkey"
        raise ConfigError(f"it holds {len(blocks)} private keys, where one is needed", where=name, fix=fix)
    label, body = blocks[0]
    der, asked = _decoded(body, name), None
    if label in _COSIGN:
        der = _unsealed(der, password(), name)
    elif label.startswith("ENCRYPTED"):
        asked = password()
    return PrivateKey(name=name, key=_private(der, asked, label, name))


def _decoded(body: str, name: str) -> bytes:
    try:
        return base64.b64decode("".join(body.split()), validate=True)
    except binascii.Error as error:
        raise ConfigError("its PEM text is damaged: not base64", where=name) from error


def _public(der: bytes, name: str) -> _Public:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError("it is no public key that is understood", where=name, fix=f"{_KINDS} understood") from error
    if isinstance(key, rsa.RSAPublicKey) and key.key_size >= _MIN_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1", "secp521r1"):
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise ConfigError("keys of this kind or size are not accepted", where=name, fix=f"{_KINDS} accepted")


def _private(der: bytes, password: bytes | None, label: str, name: str) -> _Private:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    try:
        key = load_der_private_key(der, password)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        what = "the password is wrong, or the key is damaged" if password is not None else f"the {label} is damaged"
        raise ConfigError(what, where=name) from error
    if isinstance(key, rsa.RSAPrivateKey) and key.key_size >= _MIN_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise ConfigError("keys of this kind or size are not accepted", where=name, fix=f"{_KINDS} accepted")


def _attempts(key: _Public) -> list[Callable[[bytes, bytes], None]]:
    """The ways in which the key may have been used."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

    if isinstance(key, ec.EllipticCurvePublicKey):
        kinds: list[hashes.HashAlgorithm] = [getattr(hashes, each)() for each in _HASHES[key.curve.key_size]]
        return [partial(_ecdsa, key, kind) for kind in kinds]
    if isinstance(key, rsa.RSAPublicKey):
        return [lambda signature, data: key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())]
    return [key.verify]


def _ecdsa(key: ec.EllipticCurvePublicKey, kind: hashes.HashAlgorithm, signature: bytes, message: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    key.verify(signature, message, ec.ECDSA(kind))


def _base64(value: object) -> bytes:
    return base64.b64decode(str(value), validate=True)


_Base64 = Annotated[bytes, PlainValidator(_base64)]


class _Scrypt(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    cost: int = Field(alias="N", ge=2, le=1 << 22)
    block: int = Field(alias="r", ge=1, le=64)
    parallel: int = Field(alias="p", ge=1, le=16)


class _Kdf(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Literal["scrypt"]
    params: _Scrypt
    salt: _Base64


class _Cipher(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    name: Literal["nacl/secretbox"]
    nonce: _Base64


class _Sealed(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    kdf: _Kdf
    cipher: _Cipher
    ciphertext: _Base64


def _unsealed(data: bytes, password: bytes, name: str) -> bytes:
    """The PKCS#8 key in cosign's JSON."""
    try:
        sealed = _Sealed.model_validate_json(data)
    except ValidationError as error:
        raise ConfigError("its private key is protected in a way that is not understood", where=name) from error
    cost = sealed.kdf.params
    memory = 128 * cost.block * (cost.cost + cost.parallel + 2)
    try:
        if memory > _MAX_SCRYPT_BYTES:
            raise ValueError("too much memory")
        key = hashlib.scrypt(
            password, salt=sealed.kdf.salt, n=cost.cost, r=cost.block, p=cost.parallel, maxmem=2 * memory, dklen=32
        )
    except ValueError as error:
        raise ConfigError("its password is protected by scrypt with numbers that are refused", where=name) from error
    try:
        return pem_secretbox.open_box(sealed.ciphertext, sealed.cipher.nonce, key)
    except IntegrityError as error:
        raise ConfigError(error.what, where=name) from error
