"""The mirror is given, or taken from the host's apt; no name stands in the code."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.components import mirror
from moby.components.mirror import Mirror, Source
from moby.context import Context
from moby.errors import ConfigError, PlatformError

DEB822 = """\
# comment
Types: deb deb-src
URIs: http://one.example/debian/
# http://comment.example/debian
Suites: trixie
 trixie-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://two.example/debian-security
Suites: trixie-security
Components: main

Types: deb-src
URIs: http://source.example/debian
Suites: trixie
Components: main

Types: deb
Enabled: no
URIs: http://off.example/debian
Suites: trixie
Components: main
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc/apt/sources.list.d").mkdir(parents=True)
    return tmp_path


def context(**variables: str) -> Context:
    return Context.from_environment({"HOME": "/nonexistent", **variables})


def test_reads_the_one_line_format() -> None:
    text = (
        "deb [ arch=amd64 signed-by=/k ] http://a.example/debian/ trixie main contrib # why\n"
        "# deb http://off.example/debian trixie main\n"
        "deb-src http://a.example/debian trixie main\n"
    )
    (found,) = mirror.one_line(text)
    assert found == Source(uri="http://a.example/debian", suite="trixie", areas=("main", "contrib"))


def test_reads_deb822() -> None:
    found = [(each.uri, each.suite) for each in mirror.deb822(DEB822)]
    assert found == [
        ("http://one.example/debian", "trixie"),
        ("http://one.example/debian", "trixie-updates"),
        ("http://two.example/debian-security", "trixie-security"),
    ]


def test_takes_both_archives_from_the_host(root: Path) -> None:
    (root / "etc/apt/sources.list").write_text("deb http://vendor.example/tools stable main\n")
    (root / "etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    found = mirror.choose(context(), root)
    assert (found.main, found.security) == ("http://one.example/debian", "http://two.example/debian-security")


def test_a_given_mirror_wins_and_its_security_archive_is_beside_it(root: Path) -> None:
    (root / "etc/apt/sources.list.d/debian.sources").write_text(DEB822)
    found = mirror.choose(context(MOBY_DEBIAN_MIRROR="https://mine.example/debian/"), root)
    assert (found.main, found.security) == ("https://mine.example/debian", "https://mine.example/debian-security")


def test_the_security_archive_may_be_named(root: Path) -> None:
    variables = {
        "MOBY_DEBIAN_MIRROR": "http://m.example/debian",
        "MOBY_DEBIAN_SECURITY_MIRROR": "http://s.example/security",
    }
    assert mirror.choose(context(**variables), root).security == "http://s.example/security"


def test_no_mirror_is_an_error_that_says_how(root: Path) -> None:
    with pytest.raises(PlatformError) as caught:
        mirror.choose(context(), root)
    assert "MOBY_DEBIAN_MIRROR" in caught.value.fix


@pytest.mark.parametrize("url", ["ftp://a.example/debian", "/srv/debian", "http://", "http:///debian"])
def test_only_http_is_understood(root: Path, url: str) -> None:
    with pytest.raises(ConfigError):
        mirror.choose(context(MOBY_DEBIAN_MIRROR=url), root)


def test_splits_urls_back_into_archive_and_path() -> None:
    made = Mirror(main="http://m.example/debian", security="http://m.example/debian-security")
    assert made.split("http://m.example/debian/pool/a.deb") == ("debian", "pool/a.deb")
    assert made.split("http://m.example/debian-security/pool/a.deb") == ("debian-security", "pool/a.deb")
    with pytest.raises(ConfigError):
        made.split("http://evil.example/debian/pool/a.deb")


def test_snapshot_url_fills_in_archive_and_date() -> None:
    made = Mirror(main="m", security="s", snapshot="http://snap.example/{archive}/{date}")
    url = made.snapshot_url("debian-security", "pool/a.deb", "20260101T000000Z")
    assert url == "http://snap.example/debian-security/20260101T000000Z/pool/a.deb"
    plain = Mirror(main="m", security="s", snapshot="http://snap.example")
    assert plain.snapshot_url("debian", "a.deb", "") == "http://snap.example/debian/a.deb"
