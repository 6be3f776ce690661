"""The host's apt knows how to reach a network; fetching follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.components import hostapt
from moby.components.resolve import transport

DUMP = """\
APT::Architecture "amd64";
Acquire::http::Proxy "http://proxy.example:3142/";
Acquire::http::Proxy::local.example "DIRECT";
Acquire::Check-Valid-Until "false";
DPkg::Post-Invoke:: "rm -f /x";
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    tool = tmp_path / "apt-config"
    tool.write_text(f"#!/bin/sh\ncat <<'EOF'\n{DUMP}EOF\n")
    tool.chmod(0o755)
    return {"PATH": f"{tmp_path}:/usr/bin:/bin"}


def test_reads_what_apt_is_told(environment: dict[str, str]) -> None:
    found = hostapt.settings(environment)
    assert found["Acquire::http::Proxy"] == "http://proxy.example:3142/"
    assert found["APT::Architecture"] == "amd64"


def test_a_host_without_apt_says_nothing(tmp_path: Path) -> None:
    assert hostapt.settings({"PATH": str(tmp_path)}) == {}


def test_only_transport_settings_go_to_the_private_apt(environment: dict[str, str]) -> None:
    assert transport(hostapt.settings(environment)).splitlines() == [
        'Acquire::http::Proxy "http://proxy.example:3142/";',
        'Acquire::http::Proxy::local.example "DIRECT";',
        'Acquire::Check-Valid-Until "false";',
    ]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://mirror.example/debian", "http://proxy.example:3142/"),
        ("http://local.example/debian", None),
        ("https://mirror.example/debian", None),
    ],
)
def test_the_proxy_is_apts(environment: dict[str, str], url: str, expected: str | None) -> None:
    assert hostapt.proxy(url, hostapt.settings(environment)) == expected
