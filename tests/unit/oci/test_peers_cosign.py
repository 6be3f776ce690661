"""The real cosign against a real registry: each side verifies what the other signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby import http
from moby.context import Context
from moby.errors import CommandError, IntegrityError
from moby.oci import pem
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.resolve import ImageSource
from moby.oci.store import Store
from moby.oci.trust import Trust, Verifier
from moby.oci.trust_sign import sign
from tests.support.cosign import FOLDER, PASSWORD, Cosign, key, scratch, subjects
from tests.support.tools import cosign

AMD64 = Platform.parse("amd64")


@pytest.mark.long
@pytest.mark.network
@pytest.mark.shows("cosign verifies what moby cache push --sign signed, and the other way round", by="peer")
@pytest.mark.parametrize("kind", ["cosign", "rsa", "p384", "ed25519"])
def test_cosign_and_moby_verify_each_other(tmp_path: Path, kind: str) -> None:
    program = Cosign(cosign(Context.from_environment()))
    made = subjects()
    with scratch() as there, http.client() as client:
        registry = Registry(lambda: client)
        signed = Reference.parse(there.push_index("theirs", made))
        program.sign(str(signed), kind)
        trust = Trust(keys=(key(kind),))
        store = Store(tmp_path / "store")
        source = ImageSource(store, registry, verifier=Verifier(trust=trust, store=store, registry=registry))
        assert source.resolve(signed, AMD64).digest == made[0].descriptor.digest
        ours = Reference.parse(there.push_index("ours", made))
        with pytest.raises(IntegrityError, match="no good signature"):
            source.resolve(ours, AMD64)
        with pytest.raises(CommandError):
            program.verify(str(ours), kind)
        private = pem.private_key((FOLDER / f"{kind}.key").read_text(), PASSWORD.encode, name=kind)
        assert ours.digest is not None
        sign(ours.digest, private, reference=ours, registry=registry, store=store)
        program.verify(str(ours), kind)
        assert source.resolve(ours, AMD64).digest == made[0].descriptor.digest
        with pytest.raises(CommandError):
            program.verify(str(ours), "rsa" if kind != "rsa" else "cosign")
