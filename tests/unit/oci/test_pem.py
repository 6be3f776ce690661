from __future__ import annotations

import base64
import json
import re

import pytest
from cryptography.hazmat.primitives import serialization as forms
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.errors import ConfigError, IntegrityError
from moby.oci import pem, pem_secretbox
from tests.support.cosign import FOLDER, PASSWORD

NAMES = ("cosign", "rsa", "p384", "ed25519")


def text(name: str) -> str:
    return (FOLDER / name).read_text()


def never() -> bytes:
    raise AssertionError("no password is needed")


def load(name: str, password: str = PASSWORD) -> pem.PrivateKey:
    return pem.private_key(text(f"{name}.key"), lambda: password.encode(), name=f"{name}.key")


@pytest.mark.parametrize("name", NAMES)
def test_keys_that_cosign_protected_sign_for_their_public_half(name: str) -> None:
    private, (public,) = load(name), pem.public_keys(text(f"{name}.pub"), name=name)
    signature = private.sign(b"message")
    assert public.verifies(signature, b"message")
    assert not public.verifies(signature, b"another")
    assert not public.verifies(signature[:-1] + bytes((signature[-1] ^ 1,)), b"message")
    assert private.public.hint == public.hint


@pytest.mark.parametrize("name", NAMES)
def test_a_signature_by_another_key_is_none(name: str) -> None:
    signature = ec.generate_private_key(ec.SECP256R1()).sign(b"m", ec.ECDSA(SHA256()))
    assert not pem.public_keys(text(f"{name}.pub"), name=name)[0].verifies(signature, b"m")


def test_a_wrong_password_is_said() -> None:
    with pytest.raises(ConfigError, match="the password is wrong, or the key is damaged"):
        load("cosign", "guess")


def test_plain_and_protected_pkcs8_keys_are_taken() -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    plain = key.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption()).decode()
    assert pem.private_key(plain, never, name="k").public.hint
    closed = key.private_bytes(
        forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.BestAvailableEncryption(b"secret")
    ).decode()
    assert pem.private_key(closed, lambda: b"secret", name="k").sign(b"m")
    with pytest.raises(ConfigError, match="password is wrong"):
        pem.private_key(closed, lambda: b"guess", name="k")


def public(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | dsa.DSAPrivateKey) -> str:
    return key.public_key().public_bytes(forms.Encoding.PEM, forms.PublicFormat.SubjectPublicKeyInfo).decode()


def test_weak_and_unusual_keys_are_refused() -> None:
    for key in (
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256K1()),
        dsa.generate_private_key(2048),
    ):
        with pytest.raises(ConfigError, match="of this kind or size are not accepted"):
            pem.public_keys(public(key), name="k")


def test_several_keys_may_stand_in_one_file() -> None:
    both = text("cosign.pub") + "\n" + text("rsa.pub")
    assert len(pem.public_keys(both, name="k")) == 2


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        ("", "holds no public key"),
        ("ssh-ed25519 AAAA me", "holds no public key"),
        (text("cosign.key"), "holds ENCRYPTED SIGSTORE PRIVATE KEY, where a public key is needed"),
        ("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----", "not base64"),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "no public key that is understood"),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "where a public key is needed"),
    ],
)
def test_what_is_no_public_key_is_refused_with_a_reason(damaged: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        pem.public_keys(damaged, name="some.pub")
    assert caught.value.where == "some.pub"


def protected(params: dict[str, int] | None = None, **changes: object) -> str:
    """cosign.key with other numbers in it."""
    body = re.sub(r"-----.*?-----|\s", "", text("cosign.key"))
    fields = json.loads(base64.b64decode(body))
    fields["kdf"]["params"] |= params or {}
    fields |= changes
    packed = base64.b64encode(json.dumps(fields).encode()).decode()
    return f"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n{packed}\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (protected(params={"N": 1 << 22}), "numbers that are refused"),
        (protected(params={"N": 1 << 40}), "not understood"),
        (protected(params={"N": 1000}), "numbers that are refused"),
        (protected(params={"r": 1 << 30}), "not understood"),
        (protected(ciphertext="AAAA"), "a length is wrong"),
        (protected(ciphertext="€"), "not understood"),
        (protected(cipher={"name": "rot13", "nonce": ""}), "not understood"),
        ("", "holds 0 private keys"),
        (text("cosign.key") * 2, "holds 2 private keys"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "the PRIVATE KEY is damaged"),
    ],
)
def test_what_is_no_private_key_is_refused_with_a_reason(damaged: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        pem.private_key(damaged, lambda: b"x", name="some.key")


# From "Cryptography in NaCl", section 10.
_KEY = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"
_NONCE = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37"
_MESSAGE = (
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01"
    "233561f41db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd"
    "4924ca1c60902e52f0a089bc76897040e082f937763848645e0705"
)
_BOX = (
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c"
    "98dce87b4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfea"
    "bd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
)


def test_the_published_secret_box_opens_and_closes() -> None:
    key, nonce, message, box = map(bytes.fromhex, (_KEY, _NONCE, _MESSAGE, _BOX))
    assert pem_secretbox.close_box(message, nonce, key) == box
    assert pem_secretbox.open_box(box, nonce, key) == message


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=200), st.binary(min_size=24, max_size=24), st.binary(min_size=32, max_size=32), st.data())
def test_a_secret_box_gives_its_message_back_and_no_other(
    message: bytes, nonce: bytes, key: bytes, data: st.DataObject
) -> None:
    box = pem_secretbox.close_box(message, nonce, key)
    assert pem_secretbox.open_box(box, nonce, key) == message
    at = data.draw(st.integers(0, len(box) - 1))
    with pytest.raises(IntegrityError, match="password is wrong"):
        pem_secretbox.open_box(box[:at] + bytes((box[at] ^ 1,)) + box[at + 1 :], nonce, key)


def test_ed25519_signs_the_message_itself() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    assert pem.PrivateKey(name="k", key=key).sign(b"m") == key.sign(b"m")
