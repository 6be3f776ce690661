"""Logins from Docker's and Podman's files."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import pytest

from moby import log
from moby.errors import ConfigError
from moby.oci.auth import Credential
from moby.oci.credentials import Logins, paths


def auth(text: str) -> dict[str, str]:
    return {"auth": base64.b64encode(text.encode()).decode()}


def logins(home: Path, file: object, where: str = ".docker/config.json", **environment: str) -> Logins:
    path = home / where
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(file if isinstance(file, str) else json.dumps(file))
    return Logins({"HOME": str(home), "PATH": f"{home}/bin:{os.environ['PATH']}", **environment})


def helper(home: Path, name: str, script: str) -> None:
    path = home / "bin" / f"docker-credential-{name}"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\necho asked >> {home}/asked\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "registry-1.docker.io"),
        ("host:5000", "host:5000"),
        ("https://host:5000", "host:5000"),
        ("http://host:5000/v2/", "host:5000"),
    ],
)
def test_registries_in_every_spelling(tmp_path: Path, key: str, registry: str) -> None:
    found = logins(tmp_path, {"auths": {key: auth("alice:se:cret")}})
    assert found.credential(registry, "org/x") == Credential(username="alice", password="se:cret")
    assert found.credential("other", "org/x") is None


def test_the_longest_path_wins(tmp_path: Path) -> None:
    file = {"auths": {"host": auth("all:1"), "host/org": auth("org:1"), "host/org/x": auth("x:1")}}
    found = logins(tmp_path, file)
    names = {
        each: (found.credential("host", each) or Credential()).username
        for each in ("org/x", "org/x/deep", "org/y", "organ", "z")
    }
    assert names == {"org/x": "x", "org/x/deep": "x", "org/y": "org", "organ": "all", "z": "all"}


def test_tokens_of_either_kind(tmp_path: Path) -> None:
    file = {"auths": {"a": {"identitytoken": "i", **auth("0000:")}, "b": {"registrytoken": "r"}}}
    found = logins(tmp_path, file)
    one, two = found.credential("a", "x"), found.credential("b", "x")
    assert one is not None and one.identity_token == "i"
    assert two is not None and two.token == "r"


def test_files_in_their_order(tmp_path: Path) -> None:
    environment = {"HOME": "/h", "REGISTRY_AUTH_FILE": "/r.json", "DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": "/run/u"}
    assert list(map(str, paths(environment))) == [
        "/r.json", "/d/config.json", "/run/u/containers/auth.json", "/h/.config/containers/auth.json"]  # fmt: skip
    logins(tmp_path, {"auths": {"a": auth("podman:1"), "b": auth("podman:1")}}, ".config/containers/auth.json")
    found = logins(tmp_path, {"auths": {"a": auth("docker:1")}})
    names = [(found.credential(each, "x") or Credential()).username for each in "ab"]
    assert names == ["docker", "podman"]


def test_no_file_is_no_login(tmp_path: Path) -> None:
    assert Logins({"HOME": str(tmp_path)}).credential("docker.io", "library/x") is None


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": 5}', '{"auths": {"a": {"auth": 1}}}'])
def test_a_broken_file_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"config\.json: not a file of registry logins"):
        logins(tmp_path, text).credential("a", "x")


def test_a_broken_entry_is_named_without_its_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.json \(auths\.a\): its auth is not base64") as caught:
        logins(tmp_path, {"auths": {"a": {"auth": "hunter2!"}}}).credential("a", "x")
    assert "hunter2" not in str(caught.value)


def test_a_registry_s_own_helper_before_the_common_one(tmp_path: Path) -> None:
    says = 'read -r server; printf \'{"ServerURL": "%s", "Username": "NAME", "Secret": "%s"}\' "$server" "$server"'
    helper(tmp_path, "own", says.replace("NAME", "own"))
    helper(tmp_path, "common", says.replace("NAME", "common"))
    found = logins(tmp_path, {"credHelpers": {"a:5000": "own"}, "credsStore": "common", "auths": {"a:5000": {}}})
    assert found.credential("a:5000", "x") == Credential(username="own", password="a:5000")
    assert found.credential("docker.io", "x") == Credential(username="common", password="https://index.docker.io/v1/")
    found.credential("docker.io", "x")
    assert (tmp_path / "asked").read_text() == "asked\n" * 2


def test_a_helper_may_give_an_identity_token(tmp_path: Path) -> None:
    helper(tmp_path, "x", 'echo \'{"Username": "<token>", "Secret": "s"}\'')
    assert logins(tmp_path, {"credsStore": "x"}).credential("a", "x") == Credential(identity_token="s")


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo credentials not found in native keychain; exit 1", ""),
        ("echo keyring is locked >&2; exit 1", "keyring is locked"),
        ("echo nonsense", "gave no credentials that can be read"),
        (None, "cannot run docker-credential-x: not found"),
    ],
)
def test_a_helper_that_has_nothing_leaves_us_with_the_file_s_login(
    tmp_path: Path, script: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if script:
        helper(tmp_path, "x", script)
    log.use(log.Console())
    try:
        found = logins(tmp_path, {"credsStore": "x", "auths": {"a": auth("file:1")}})
        assert found.credential("a", "y") == Credential(username="file", password="1")
        assert found.credential("b", "y") is None
    finally:
        log.use(log.Silent())
    shown = capsys.readouterr().err
    assert said in shown
    assert bool(said) == bool(shown)


def test_a_helper_is_a_name_and_no_path(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not the name of a credential helper"):
        logins(tmp_path, {"credsStore": "../../bin/evil"}).credential("a", "x")
