"""Keys come from the user, the host, or a package that a lock pins."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.components import keyring
from moby.context import Context
from moby.errors import IntegrityError, PlatformError
from tests.support.debs import deb
from tests.support.images import Content, symlink


def context(**variables: str) -> Context:
    return Context.from_environment({"HOME": "/nonexistent", **variables})


def test_a_named_one_wins(tmp_path: Path) -> None:
    own = tmp_path / "own.gpg"
    own.write_bytes(b"key")
    assert keyring.of_host(context(MOBY_DEBIAN_KEYRING=str(own))) == own


def test_a_named_one_must_exist(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no keyring at") as caught:
        keyring.of_host(context(MOBY_DEBIAN_KEYRING=str(tmp_path / "own.gpg")))
    assert "unset" in caught.value.fix


@pytest.mark.parametrize("name", keyring.PATHS)
def test_the_hosts_is_found(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"key")
    assert keyring.of_host(context(), tmp_path) == path


def test_a_host_may_have_none(tmp_path: Path) -> None:
    assert keyring.of_host(context(), tmp_path) is None


def test_a_package_gives_its_keyring_once(tmp_path: Path) -> None:
    files: dict[str, Content] = {keyring.PATHS[0]: "keys", keyring.PATHS[1]: symlink("debian-archive-keyring.pgp")}
    package = tmp_path / "abc.deb"
    package.write_bytes(deb("k", files=files).data)
    found = keyring.from_package(package, tmp_path / "keys", where="k")
    assert (found.name, found.read_bytes()) == ("abc.gpg", b"keys")
    package.unlink()
    assert keyring.from_package(package, tmp_path / "keys", where="k") == found


def test_a_package_without_one_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "abc.deb"
    package.write_bytes(deb("k").data)
    with pytest.raises(IntegrityError):
        keyring.from_package(package, tmp_path, where="k")
