"""Keys and certificates that sign EFI programs."""

from __future__ import annotations

import datetime
import warnings
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from moby.errors import ConfigError, IntegrityError

KEY_BITS = 2048
_MAX_BITS = 8192
_NAME_CHARACTERS = 64  # of a common name, X.520
_YEAR = datetime.timedelta(days=365)


@dataclass(frozen=True, slots=True, kw_only=True)
class Signer:
    """A private key and the certificate of its public half.

    Raises ``ConfigError`` when they do not belong together, or are not what firmware takes: RSA of 2048 bits and more.
    """

    key: rsa.RSAPrivateKey
    certificate: x509.Certificate

    def __post_init__(self) -> None:
        public = self.certificate.public_key()
        if not isinstance(self.key, rsa.RSAPrivateKey) or not isinstance(public, rsa.RSAPublicKey):
            raise ConfigError("Secure Boot takes RSA keys only", fix="make one with: moby keys create")
        if not KEY_BITS <= self.key.key_size <= _MAX_BITS:
            raise ConfigError(f"a key of {self.key.key_size} bits", fix=f"use one of {KEY_BITS} bits")
        if self.key.public_key().public_numbers() != public.public_numbers():
            raise ConfigError("the private key is not the certificate's")

    @classmethod
    def load(cls, key: bytes, certificate: bytes) -> Signer:
        """From PEM. Raises ``ConfigError`` when they cannot be read, or the key has a password."""
        try:
            private = serialization.load_pem_private_key(key, password=None)
            public = x509.load_pem_x509_certificate(certificate)
        except (ValueError, TypeError) as error:
            fix = "give an RSA key without password and its certificate, both as PEM"
            raise ConfigError(f"cannot read the signing key or certificate: {error}", fix=fix) from error
        if not isinstance(private, rsa.RSAPrivateKey):
            raise ConfigError("Secure Boot takes RSA keys only", fix="make one with: moby keys create")
        return cls(key=private, certificate=public)

    @classmethod
    def create(cls, name: str, *, valid_from: datetime.datetime, years: int = 20) -> Signer:
        """A new random key with a self-signed certificate for ``name``, which signs programs and nothing else.

        Raises ``ConfigError`` when the name cannot be one.
        """
        if not 0 < len(name) <= _NAME_CHARACTERS:
            raise ConfigError(f"{name!r} is not a certificate's name", fix=f"use 1 to {_NAME_CHARACTERS} characters")
        key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
            .not_valid_before(valid_from)
            .not_valid_after(valid_from + years * _YEAR)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(key=key, certificate=certificate)

    @property
    def key_pem(self) -> bytes:
        """The private key as PKCS #8, without a password: to be kept secret."""
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())

    @property
    def certificate_pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)


def certificate(data: bytes) -> x509.Certificate:
    """The certificate in DER that came from outside.

    Raises ``IntegrityError`` unless subject, issuer, serial number and key can be read, which the library puts off
    until their first use, and for what it only warns about so far.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        try:
            found = x509.load_der_x509_certificate(data)
            found.subject.rfc4514_string()
            found.issuer.public_bytes()
            found.public_key()
        except (ValueError, UnsupportedAlgorithm, CryptographyDeprecationWarning) as error:
            raise IntegrityError(f"a certificate cannot be read: {error}") from error
    return found
