"""The real apt resolves from a mirror on loopback, with a private root and without privileges."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from moby.components.mirror import Mirror
from moby.components.recipe import Extent, Request
from moby.components.resolve import Resolver, configuration
from moby.errors import ConfigError, PlatformError
from tests.support.debs import KEY, Deb, Served, deb, mirror
from tests.support.pgp import Key

WEB = deb("web", depends="libweb, common", version="2.0-1+b1")
LIBWEB = deb("libweb", depends="common", version="1:1.0~rc1")
COMMON = deb("common", architecture="all")
OTHER = deb("other", depends="nowhere")
FIXED = deb("libweb", version="1:1.0+deb13u1", depends="common", archive="debian-security")
FOREIGN = deb("libweb", architecture="arm64")
KERNEL = deb("linux-image-6.12.9+deb13-cloud-amd64", depends="common")
META = deb("linux-image-cloud-amd64", depends=KERNEL.name)
ALL = [WEB, LIBWEB, COMMON, OTHER, FIXED, FOREIGN, KERNEL, META]
REQUEST = Request(
    suite="trixie", areas=("main",), architecture="amd64", foreign=(), packages=("web",), extent=Extent.CLOSURE
)


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with mirror(ALL) as made:
        yield made


@pytest.fixture(scope="module")
def keyring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys") / "keys.gpg"
    path.write_bytes(KEY.keyring)
    return path


@pytest.fixture(scope="module")
def resolver(served: Served, keyring: Path, tmp_path_factory: pytest.TempPathFactory) -> Resolver:
    chosen = Mirror(main=f"{served.url}/debian", security=f"{served.url}/debian-security")
    return Resolver(chosen, keyring, tmp_path_factory.mktemp("work"), {**os.environ, "http_proxy": ""})


def rows(resolver: Resolver, request: Request) -> list[str]:
    return [package.row for package in resolver.resolve(request).packages]


def expect(*debs: Deb) -> list[str]:
    return sorted((each.row.row for each in debs), key=lambda row: row.split()[2:5:2])


def test_gives_the_whole_closure_with_the_newest_versions_of_all_suites(resolver: Resolver) -> None:
    made = resolver.resolve(REQUEST)
    assert [package.row for package in made.packages] == expect(COMMON, FIXED, WEB)
    assert made.request == REQUEST.digest
    assert len(made.resolved) == len("20260101T000000Z")


def test_another_architecture(resolver: Resolver) -> None:
    assert rows(resolver, replace(REQUEST, architecture="arm64", packages=("libweb",))) == expect(FOREIGN)


def test_foreign_packages_beside_native_ones(resolver: Resolver) -> None:
    wanted = replace(REQUEST, foreign=("arm64",), packages=("common", "libweb:arm64"), extent=Extent.NAMED)
    assert rows(resolver, wanted) == expect(COMMON, FOREIGN)


def test_only_named_packages(resolver: Resolver) -> None:
    assert rows(resolver, replace(REQUEST, extent=Extent.NAMED)) == expect(WEB)


def test_a_kernel_metapackage_gives_the_image_alone(resolver: Resolver) -> None:
    assert rows(resolver, replace(REQUEST, packages=("linux-image-cloud-amd64",), extent=Extent.KERNEL)) == expect(
        KERNEL
    )


@pytest.mark.parametrize("package", ["missing", "other"])
def test_what_cannot_be_satisfied_is_an_error_with_apts_words(resolver: Resolver, package: str) -> None:
    with pytest.raises(ConfigError, match=package) as caught:
        resolver.resolve(replace(REQUEST, packages=(package,)))
    assert caught.value.where == "Debian trixie"


@pytest.mark.parametrize("keys", [b"", Key(seed=b"1" * 32).keyring], ids=["none", "another"])
def test_an_archive_signed_by_others_is_refused(served: Served, tmp_path: Path, keys: bytes) -> None:
    keyring = tmp_path / "keys.gpg"
    keyring.write_bytes(keys)
    chosen = Mirror(main=f"{served.url}/debian", security=f"{served.url}/debian-security")
    with pytest.raises(PlatformError, match="not signed"):
        Resolver(chosen, keyring, tmp_path / "work", {**os.environ, "http_proxy": ""}).resolve(REQUEST)


def test_an_index_that_was_altered_is_refused(keyring: Path, tmp_path: Path) -> None:
    with mirror(ALL) as other:
        other.files["/debian/dists/trixie/Release"] += b"\n"
        chosen = Mirror(main=f"{other.url}/debian", security=f"{other.url}/debian-security")
        with pytest.raises(PlatformError, match="signature"):
            Resolver(chosen, keyring, tmp_path / "work", {**os.environ, "http_proxy": ""}).resolve(REQUEST)


def test_without_apt_the_error_says_what_to_do(
    served: Served, keyring: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    chosen = Mirror(main=f"{served.url}/debian", security=f"{served.url}/debian-security")
    with pytest.raises(PlatformError, match="apt-get is not installed") as caught:
        Resolver(chosen, keyring, tmp_path / "work", {}).resolve(REQUEST)
    assert "lock" in caught.value.fix


def test_configuration_leaves_the_host_out(tmp_path: Path) -> None:
    text = configuration(Path("/w"), ("arm64", "amd64"), 'Acquire::http::Proxy "http://p/";\n')
    assert 'APT::Architecture "arm64";' in text
    assert 'APT::Architectures { "arm64"; "amd64"; };' in text
    assert 'Dir::State::status "/w/status";' in text
    assert 'Dir::Etc::Parts "/dev/null";' in text
    assert text.endswith('Acquire::http::Proxy "http://p/";\n')
