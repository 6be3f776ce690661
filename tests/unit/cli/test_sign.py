"""``moby cache push --sign`` and the builds that ask for what it makes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moby.cli.main import main
from moby.oci import cosign
from moby.oci.store import Store
from tests.support.cosign import FOLDER, PASSWORD, subjects
from tests.support.images import image
from tests.support.registry import FakeRegistry

KEY = FOLDER / "cosign.key"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOBY_CACHE", str(tmp_path / "store"))
    monkeypatch.setenv("MOBY_KEY_PASSWORD", PASSWORD)
    return Store(tmp_path / "store")


def build(store: Store, name: str, cache: str, key: str = "cosign") -> int:
    Path("a.yml").write_text(f"init: ['{name}']\ntrust: {{keys: [{FOLDER / f'{key}.pub'}]}}\n")
    return main(["build", "--cache", cache, "-f", "tar", "--arch", "amd64", "a.yml"])


def test_what_is_pushed_and_signed_builds_elsewhere_under_the_key(store: Store, tmp_path: Path) -> None:
    with FakeRegistry() as fake:
        name = f"{fake.host}/org/x:1"
        for each in subjects():
            each.save(store, name)
        assert build(store, name, str(store.root)) == 1
        assert main(["cache", "push", "--sign", str(KEY), name]) == 0
        assert build(store, name, str(store.root)) == 0
        assert build(store, name, "elsewhere") == 0
        assert build(store, name, "elsewhere", "rsa") == 1
    assert build(store, name, "elsewhere") == 0


def test_signatures_of_others_stay_and_ours_is_made_once(store: Store) -> None:
    with FakeRegistry() as fake:
        name = f"{fake.host}/org/x:1"
        image([{"a": "1"}]).save(store, name)
        (root,) = store.descriptors(name)
        for key in ("rsa", "cosign", "p384", "ed25519", "cosign", "rsa"):
            assert main(["cache", "push", "--sign", str(FOLDER / f"{key}.key"), name]) == 0
        _, manifest = fake.manifests["org/x", cosign.tag(root.digest)]
        assert len(json.loads(manifest)["layers"]) == 4
        for key in ("rsa", "cosign", "p384", "ed25519"):
            assert build(store, name, f"store-{key}", key) == 0


def test_another_image_that_stays_there_is_not_signed(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with FakeRegistry() as fake:
        name = f"{fake.host}/org/x:1"
        fake.put("org/x", "1", image([{"theirs": "1"}]))
        image([{"ours": "1"}]).save(store, name)
        assert main(["cache", "push", "--sign", str(KEY), name]) == 0
        assert "is another image there and stays" in capsys.readouterr().err
        assert not [tag for _, tag in fake.manifests if tag.endswith(".sig")]


@pytest.mark.parametrize(
    ("file", "password", "message"),
    [
        ("none.key", PASSWORD, "none.key: cannot read the private key: No such file"),
        (str(FOLDER / "cosign.pub"), PASSWORD, "holds 0 private keys"),
        (str(KEY), "guess", "the password is wrong"),
        (str(KEY), None, "there is no terminal to ask on"),
    ],
)
def test_a_key_that_cannot_be_used_ends_it_before_anything_is_pushed(
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    file: str,
    password: str | None,
    message: str,
) -> None:
    if password is None:
        monkeypatch.delenv("MOBY_KEY_PASSWORD")
        monkeypatch.delenv("COSIGN_PASSWORD", raising=False)
    else:
        monkeypatch.setenv("MOBY_KEY_PASSWORD", password)
    with FakeRegistry() as fake:
        name = f"{fake.host}/x:1"
        image([{"a": "1"}]).save(store, name)
        assert main(["cache", "push", "--sign", file, name]) == 1
        assert fake.requests == []
    assert message in capsys.readouterr().err


def test_a_signature_is_removed_with_its_image(store: Store) -> None:
    with FakeRegistry() as fake:
        name = f"{fake.host}/x:1"
        image([{"a": "1"}]).save(store, name)
        assert main(["cache", "push", "--sign", str(KEY), name]) == 0
    assert main(["cache", "verify"]) == 0
    assert len(store.names()) == 2
    assert main(["cache", "rm", name]) == 0
    assert store.names() == ()


def test_a_lock_and_signatures_go_together(store: Store) -> None:
    with FakeRegistry() as fake:
        name = f"{fake.host}/org/x:1"
        for each in subjects():
            each.save(store, name)
        assert main(["cache", "push", "--sign", str(KEY), name]) == 0
        assert build(store, name, "elsewhere") == 0
        assert main(["lock", "--cache", "elsewhere", "a.yml"]) == 0
        assert main(["build", "--locked", "--cache", "third", "-f", "tar", "--arch", "arm64", "a.yml"]) == 0
        fake.put("org/x", "1", image([{"evil": "1"}]))
        assert main(["build", "--locked", "--cache", "fourth", "-f", "tar", "--arch", "arm64", "a.yml"]) == 0
        Path("moby.lock").unlink()
        assert main(["build", "--cache", "fifth", "-f", "tar", "--arch", "amd64", "a.yml"]) == 1
