"""Our push and our logins against programs that are not ours: Debian's docker-registry, skopeo, a token server."""

from __future__ import annotations

import json
import random
import threading
from base64 import b64encode
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from moby.context import Context
from moby.errors import RegistryError
from moby.oci import walk
from moby.oci.digest import Digest
from moby.oci.manifest import Platform
from moby.oci.push import Outcome
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.docker_registry import Certificate, docker_registry, htpasswd, make_certificate, skopeo
from tests.support.images import Layer, image
from tests.support.token_server import IDENTITY, TokenServer, token_server

AMD64 = Platform.parse("amd64")
NAME = "localhost/made:1"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with docker_registry(tmp_path_factory.mktemp("registry")) as host:
        yield host


@pytest.fixture
def tokens(tmp_path: Path) -> Iterator[TokenServer]:
    with token_server(tmp_path) as server:
        yield server


@pytest.fixture
def made(store: Store) -> Digest:
    """The digest of the index of an image for two architectures, one layer of it large."""
    for architecture in ("amd64", "arm64"):
        layers: list[Layer] = [{"a": random.Random(1).randbytes(3_000_000)}, {architecture: "1"}]
        image(layers, {"Cmd": [architecture]}, architecture=architecture, compression="none").save(store, NAME)
    return store.descriptors(NAME)[0].digest


def context(
    home: Path,
    *,
    login: dict[str, str] | None = None,
    host: str = "",
    certificates: Sequence[Path] = (),
    client_certificates: Sequence[str] = (),
) -> Context:
    if login:
        (home / ".docker").mkdir(exist_ok=True)
        (home / ".docker/config.json").write_text(json.dumps({"auths": {host: login}}))
    return Context.from_environment(
        {"HOME": str(home)}, certificates=certificates, client_certificates=client_certificates
    )


def password(text: str) -> dict[str, str]:
    return {"auth": b64encode(text.encode()).decode()}


def push(context: Context, to: str, store: Store) -> Digest:
    with Registry.connect(context) as registry:
        return registry.push(NAME, Reference.parse(to), store).digest


@pytest.mark.shows("skopeo copies what we pushed to docker-registry with the same digests", by="peer")
def test_skopeo_reads_what_we_pushed_with_the_same_digests(
    plain: str, store: Store, made: Digest, tmp_path: Path
) -> None:
    assert push(context(tmp_path), f"{plain}/org/x:1", store) == made
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{plain}/org/x:1")
    assert Digest.of(raw.encode()) == made
    options = ("-q", "--all", "--preserve-digests", "--src-tls-verify=false")
    skopeo("copy", *options, f"docker://{plain}/org/x:1", f"oci:{tmp_path}/copy:1")
    theirs = {path.name for path in (tmp_path / "copy/blobs/sha256").iterdir()}
    (root,) = store.descriptors(NAME)
    top = walk.node(store, root)
    assert top is not None
    ours = [each.descriptor for each in top.every()] + [blob for each in top.every() for blob in each.blobs]
    assert {each.digest.hex for each in ours} == theirs


def test_a_second_repository_gets_its_blobs_by_mounting(plain: str, store: Store, made: Digest, tmp_path: Path) -> None:
    push(context(tmp_path), f"{plain}/org/first:1", store)
    store.tag(f"{plain}/org/first:1", store.descriptors(NAME)[0])
    with Registry.connect(context(tmp_path)) as registry:
        pushed = registry.push(NAME, Reference.parse(f"{plain}/org/second:1"), store)
        assert pushed.digest == made
        assert registry.push(NAME, Reference.parse(f"{plain}/org/second:1"), store).outcome is Outcome.UNCHANGED


@pytest.mark.shows("Architectures pushed at the same time are all in the index", by="peer")
def test_architectures_pushed_at_once_to_the_real_server(plain: str, tmp_path: Path) -> None:
    def one(architecture: str) -> None:
        alone = Store(tmp_path / architecture)
        image([{"a": architecture}], architecture=architecture).save(alone, NAME)
        push(context(tmp_path), f"{plain}/org/race:1", alone)

    threads = [threading.Thread(target=one, args=(each,)) for each in ("amd64", "arm64", "riscv64", "s390x")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    raw = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{plain}/org/race:1")
    found = [each["platform"]["architecture"] for each in json.loads(raw)["manifests"]]
    assert found == ["amd64", "arm64", "riscv64", "s390x"]


@pytest.mark.shows("Registries with basic logins over TLS", by="peer")
def test_basic_logins_over_tls(certificate: Certificate, store: Store, made: Digest, tmp_path: Path) -> None:
    with docker_registry(tmp_path, tls=certificate, auth=htpasswd(tmp_path)) as host:
        trusted = [certificate.certificate]
        with pytest.raises(RegistryError, match="not for us"):
            push(context(tmp_path, certificates=trusted), f"{host}/x:1", store)
        wrong = context(tmp_path, login=password("alice:wrong"), host=host, certificates=trusted)
        with pytest.raises(RegistryError, match="not for us"):
            push(wrong, f"{host}/x:1", store)
        known = context(tmp_path, login=password("alice:secret"), host=host, certificates=trusted)
        assert push(known, f"{host}/x:1", store) == made
        with Registry.connect(known) as registry:
            registry.pull(Reference.parse(f"{host}/x:1"), AMD64, Store(tmp_path / "other"))


@pytest.mark.shows("Registries that want a client certificate", by="peer")
def test_client_certificates_with_the_real_server(
    certificate: Certificate, store: Store, made: Digest, tmp_path: Path
) -> None:
    with docker_registry(tmp_path, tls=certificate, clients=certificate.certificate) as host:
        trusted = [certificate.certificate]
        with pytest.raises(RegistryError, match="--client-cert"):
            push(context(tmp_path, certificates=trusted), f"{host}/x:1", store)
        shown = [f"{host}={certificate.certificate},{certificate.key}"]
        assert push(context(tmp_path, client_certificates=shown, certificates=trusted), f"{host}/x:1", store) == made


@pytest.mark.shows("Registries with a token server: passwords and identity tokens", by="peer")
@pytest.mark.parametrize("login", [password("alice:secret"), {"identitytoken": IDENTITY}], ids=["password", "identity"])
def test_tokens_for_pushing_and_pulling(
    tokens: TokenServer, store: Store, made: Digest, tmp_path: Path, login: dict[str, str]
) -> None:
    with docker_registry(tmp_path, auth=tokens.auth) as host:
        anonymous = context(tmp_path)
        with pytest.raises(RegistryError, match="lets us not write"):
            push(anonymous, f"{host}/org/x:1", store)
        known = context(tmp_path, login=login, host=host)
        tokens.asked.clear()
        assert push(known, f"{host}/org/x:1", store) == made
        method, (first, *_) = tokens.asked[0][0], [each for _, each in tokens.asked]
        assert (method, first["scope"]) == (
            "POST" if "identitytoken" in login else "GET",
            ["repository:org/x:pull,push"],
        )
        store.tag(f"{host}/org/x:1", store.descriptors(NAME)[0])
        push(known, f"{host}/org/y:1", store)
        scopes = {" ".join(each["scope"]) for _, each in tokens.asked}
        assert "repository:org/y:pull,push repository:org/x:pull" in scopes
        with Registry.connect(context(tmp_path / "nobody")) as registry:
            registry.pull(Reference.parse(f"{host}/org/y:1"), AMD64, Store(tmp_path / "other"))


def test_a_wrong_password_at_the_token_server_is_told(
    tokens: TokenServer, store: Store, made: Digest, tmp_path: Path
) -> None:
    with docker_registry(tmp_path, auth=tokens.auth) as host:
        wrong = context(tmp_path, login=password("alice:wrong"), host=host)
        with pytest.raises(RegistryError, match=r"127\.0\.0\.1:\d+/token.*: the token server knows us not"):
            push(wrong, f"{host}/org/x:1", store)
