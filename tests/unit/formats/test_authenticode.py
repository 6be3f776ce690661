from __future__ import annotations

import contextlib
import datetime
import io
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from moby import proc
from moby.errors import CommandError, ConfigError, IntegrityError
from moby.formats import authenticode, authenticode_pkcs7, der, pe
from moby.formats.authenticode import Signer
from tests.support import efi

WHEN = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
PROGRAM = efi.program({".text": b"\xf4" * 3000, ".data": b"command line"}) + b"odd"


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer.create("Moby test", valid_from=WHEN)


@pytest.fixture(scope="module")
def other() -> Signer:
    return Signer.create("Somebody else", valid_from=WHEN)


def signed(*who: Signer, program: bytes = PROGRAM) -> bytes:
    stream = io.BytesIO(program)
    for each in who:
        assert authenticode.sign(stream, each) == len(stream.getvalue())
    return stream.getvalue()


def test_a_signed_program_is_verified(signer: Signer) -> None:
    stream = io.BytesIO(signed(signer))
    assert authenticode.signers(stream) == (signer.certificate,)
    assert authenticode.verify(stream, [signer.certificate]) == signer.certificate


@pytest.mark.shows("sbverify accepts the signature of an EFI program", by="peer")
def test_sbverify_accepts_it_and_refuses_others(signer: Signer, other: Signer, tmp_path: Path) -> None:
    program, mine, theirs = tmp_path / "program.efi", tmp_path / "mine.pem", tmp_path / "theirs.pem"
    program.write_bytes(signed(signer))
    mine.write_bytes(signer.certificate_pem)
    theirs.write_bytes(other.certificate_pem)
    assert b"Signature verification OK" in proc.run(["sbverify", "--cert", str(mine), str(program)])
    with pytest.raises(CommandError):
        proc.run(["sbverify", "--cert", str(theirs), str(program)])


def test_what_sbsign_signs_is_verified(signer: Signer, other: Signer, tmp_path: Path) -> None:
    program, key, certificate = tmp_path / "program.efi", tmp_path / "key.pem", tmp_path / "certificate.pem"
    program.write_bytes(efi.program({".text": b"\xf4" * 3000}))
    key.write_bytes(signer.key_pem)
    certificate.write_bytes(signer.certificate_pem)
    proc.run(["sbsign", "--key", str(key), "--cert", str(certificate), "--output", str(program), str(program)])
    with program.open("rb") as stream:
        assert authenticode.verify(stream, [signer.certificate]) == signer.certificate
        with pytest.raises(IntegrityError, match="not trusted"):
            authenticode.verify(stream, [other.certificate])


def test_same_key_and_program_give_same_bytes(signer: Signer) -> None:
    assert signed(signer) == signed(signer)


def test_the_signature_does_not_change_what_is_signed(signer: Signer) -> None:
    padded = PROGRAM + bytes(-len(PROGRAM) % 8)
    assert authenticode.digest(io.BytesIO(signed(signer))) == authenticode.digest(io.BytesIO(padded))


def test_signatures_are_added_to_those_that_are_there(signer: Signer, other: Signer, tmp_path: Path) -> None:
    data = signed(other, signer)
    assert authenticode.signers(io.BytesIO(data)) == (other.certificate, signer.certificate)
    assert authenticode.verify(io.BytesIO(data), [signer.certificate]) == signer.certificate
    path = tmp_path / "program.efi"
    path.write_bytes(data)
    assert b"signature 2" in proc.run(["sbverify", "--list", str(path)])


def test_a_certificate_issued_by_a_trusted_one_is_trusted(signer: Signer) -> None:
    authority = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Authority")])
    until = WHEN + datetime.timedelta(days=1)

    def issue(subject: x509.Name, key: rsa.RSAPublicKey) -> x509.Certificate:
        builder = x509.CertificateBuilder(name, subject, key, 7, WHEN, until)
        return builder.sign(authority, hashes.SHA256())

    root = issue(name, authority.public_key())
    leaf = Signer(key=signer.key, certificate=issue(signer.certificate.subject, signer.key.public_key()))
    assert authenticode.verify(io.BytesIO(signed(leaf)), [root]) == leaf.certificate


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_changed_byte_is_noticed(signer: Signer, data: st.DataObject) -> None:
    whole = signed(signer)
    image = pe.read(io.BytesIO(whole))
    free = {*range(image.checksum_at, image.checksum_at + 4), *range(image.directory_at, image.directory_at + 8)}
    at = data.draw(st.integers(0, image.certificates[0] - 1).filter(lambda place: place not in free))
    changed = whole[:at] + bytes((whole[at] ^ data.draw(st.integers(1, 255)),)) + whole[at + 1 :]
    with pytest.raises(IntegrityError):
        authenticode.verify(io.BytesIO(changed), [signer.certificate])


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_damaged_signatures_are_refused_or_still_say_the_same(signer: Signer, data: st.DataObject) -> None:
    whole = signed(signer)
    start, size = pe.read(io.BytesIO(whole)).certificates
    at = data.draw(st.integers(start, start + size - 1))
    noise = data.draw(st.binary(min_size=1, max_size=4))
    changed = (whole[:at] + noise + whole[at + len(noise) :])[: len(whole)]
    with contextlib.suppress(IntegrityError):
        assert authenticode.verify(io.BytesIO(changed), [signer.certificate]) == signer.certificate


def test_an_unsigned_program_has_no_signers(signer: Signer) -> None:
    assert authenticode.signers(io.BytesIO(PROGRAM)) == ()
    with pytest.raises(IntegrityError, match="not signed"):
        authenticode.verify(io.BytesIO(PROGRAM), [signer.certificate])


def test_a_signature_of_another_program_is_refused(signer: Signer) -> None:
    donor = signed(signer)
    start, _ = pe.read(io.BytesIO(donor)).certificates
    thief = bytearray(signed(signer, program=PROGRAM.replace(b"command line", b"command LINE")))
    thief[start:] = donor[start:]
    with pytest.raises(IntegrityError, match="changed after it was signed"):
        authenticode.verify(io.BytesIO(bytes(thief)), [signer.certificate])


def test_a_key_round_trips_as_pem(signer: Signer) -> None:
    again = Signer.load(signer.key_pem, signer.certificate_pem)
    assert signed(again) == signed(signer)


def test_what_firmware_would_not_take_is_refused(signer: Signer, other: Signer) -> None:
    form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    curve = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form)
    locked = signer.key.private_bytes(*form[:2], serialization.BestAvailableEncryption(b"secret"))
    for key, message in (
        (other.key_pem, "not the certificate's"),
        (curve, "RSA keys only"),
        (locked, "cannot read"),
        (b"nonsense", "cannot read"),
    ):
        with pytest.raises(ConfigError, match=message):
            Signer.load(key, signer.certificate_pem)
    with pytest.raises(ConfigError, match="certificate's name"):
        Signer.create("n" * 65, valid_from=WHEN)


def test_content_of_another_type_is_refused(signer: Signer) -> None:
    kind, wanted = der.oid("1.2.840.113549.1.7.1"), der.oid("1.3.6.1.4.1.311.2.1.4")
    with pytest.raises(IntegrityError, match="another kind"):
        authenticode_pkcs7.verify(authenticode_pkcs7.sign(kind, der.octets(b"x"), signer), wanted)
