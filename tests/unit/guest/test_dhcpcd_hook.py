"""pkg/dhcpcd's hook: from dhcpcd's environment to resolv.conf."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.guest import programs

RECIPE = Path(__file__).parents[3] / "pkg/dhcpcd"
Event = Callable[..., str]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("dhcpcd") / "hook"
    programs.compile_sources(output, ["hook.c"], RECIPE)
    return output


@pytest.fixture
def event(program: Path, tmp_path: Path) -> Event:
    """Runs the hook for an event and returns the lines of resolv.conf behind the first."""
    target = tmp_path / "resolv.conf"
    target.touch()

    def happen(interface: str = "eth0", protocol: str = "dhcp", *, up: bool = True, **facts: str) -> str:
        state = {"if_up": "true" if up else "false", "if_down": "false" if up else "true"}
        environment = {"interface": interface, "protocol": protocol, "reason": "TEST", **state, **facts}
        subprocess.run([program, tmp_path / "state", target], env=environment, check=True, timeout=10)
        return target.read_text().partition("\n")[2]

    return happen


def test_lease_gives_servers_and_search_domain(event: Event) -> None:
    found = event(new_domain_name_servers="10.0.0.1 9.9.9.9", new_domain_name="example.test")
    assert found == "search example.test\nnameserver 10.0.0.1\nnameserver 9.9.9.9\n"


def test_search_list_wins_over_the_domain(event: Event) -> None:
    assert event(new_domain_search="a.test b.test", new_domain_name="c.test") == "search a.test b.test\n"


def test_protocols_and_interfaces_are_merged_without_repetition(event: Event) -> None:
    event(new_domain_name_servers="10.0.0.1")
    event(protocol="ra", nd1_rdnss1_servers="fe80::2 2001:db8::1", nd1_dnssl1_search="a.test")
    found = event("eth1", new_domain_name_servers="10.0.0.1 10.1.0.1")
    assert found.splitlines() == [
        "search a.test",
        "nameserver 10.0.0.1",
        "nameserver fe80::2%eth0",
        "nameserver 2001:db8::1",
        "nameserver 10.1.0.1",
    ]


def test_interface_that_goes_down_takes_its_servers_away(event: Event) -> None:
    event(new_domain_name_servers="10.0.0.1")
    event("eth1", new_domain_name_servers="10.1.0.1")
    assert event(up=False) == "nameserver 10.1.0.1\n"


def test_event_that_says_nothing_leaves_the_file_alone(event: Event, tmp_path: Path) -> None:
    (tmp_path / "resolv.conf").write_text("# made by hand\nnameserver 1.1.1.1\n")
    assert event(up=False) == "nameserver 1.1.1.1\n"


@pytest.mark.parametrize("server", ["10.0.0.1;reboot", "6.6.6.6\nsearch", "$(x)", "é", "x" * 300])
def test_hostile_words_are_dropped(event: Event, server: str) -> None:
    assert event(new_domain_name_servers=f"10.0.0.9 {server}") == "nameserver 10.0.0.9\n"


def test_file_is_rewritten_in_place(event: Event, tmp_path: Path) -> None:
    before = (tmp_path / "resolv.conf").stat().st_ino
    event(new_domain_name_servers="10.0.0.1 10.0.0.2")
    assert event(new_domain_name_servers="10.0.0.1") == "nameserver 10.0.0.1\n"
    assert (tmp_path / "resolv.conf").stat().st_ino == before


def test_very_long_lists_are_cut(event: Event) -> None:
    servers = " ".join(f"10.0.{number // 250}.{number % 250}" for number in range(500))
    assert event(new_domain_name_servers=servers).count("nameserver") == 32


@pytest.mark.parametrize("interface", ["../up", "a/b", ""])
def test_odd_interface_names_are_ignored(event: Event, tmp_path: Path, interface: str) -> None:
    event(interface, new_domain_name_servers="10.0.0.1")
    assert not (tmp_path / "state").exists()
