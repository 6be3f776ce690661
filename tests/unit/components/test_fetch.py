"""Packages arrive whole and right, or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from moby.components.fetch import Fetcher, Gone
from moby.components.lock import Lock
from moby.components.mirror import Mirror
from moby.errors import IntegrityError, RegistryError
from tests.support.debs import Deb, Served, deb, lock, mirror

BIG = deb("big", files={"usr/share/x": bytes(range(256)) * 4000}, compression="")


@pytest.fixture
def served() -> Iterator[Served]:
    with mirror([BIG]) as made:
        yield made


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=5, trust_env=False) as made:
        yield made


def at(served: Served, snapshot: str | None = None) -> Mirror:
    return Mirror(main=f"{served.url}/debian", security=f"{served.url}/debian-security", snapshot=snapshot)


def test_fetches_each_package_once(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    others = [deb(f"p{number}", files={"x": str(number)}) for number in range(20)]
    secure = deb("s+x", version="1:2~3+b1", archive="debian-security")
    served.publish([BIG, secure, *others])
    fetcher = Fetcher(client, at(served), tmp_path)
    wanted = lock(BIG, secure, *others)
    paths = fetcher.fetch(wanted, name="x")
    assert [path.stat().st_size for path in paths] == [package.size_bytes for package in wanted.packages]
    assert len(served.asked) == 22
    assert fetcher.fetch(wanted, name="x") == paths
    assert len(served.asked) == 22
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".deb"] * 22


def test_continues_where_it_broke_off(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    served.broken[f"/debian/{BIG.path}"] = 300_000
    (path,) = Fetcher(client, at(served), tmp_path).fetch(lock(BIG), name="x")
    assert path.read_bytes() == BIG.data
    assert len(served.asked) == 2


def test_continues_what_an_earlier_run_left(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    (tmp_path / f"{BIG.sha256}.part").write_bytes(BIG.data[:1000])
    (path,) = Fetcher(client, at(served), tmp_path).fetch(lock(BIG), name="x")
    assert path.read_bytes() == BIG.data


def test_recovers_from_a_wrong_partial_file(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    part = tmp_path / f"{BIG.sha256}.part"
    part.write_bytes(b"z" * 1000)
    fetcher = Fetcher(client, at(served), tmp_path)
    with pytest.raises(IntegrityError):
        fetcher.fetch(lock(BIG), name="x")
    (path,) = fetcher.fetch(lock(BIG), name="x")
    assert path.read_bytes() == BIG.data


@pytest.mark.parametrize("data", [BIG.data[:-1] + b"!", BIG.data + b"more", BIG.data[:-9]])
def test_refuses_other_bytes_than_locked(served: Served, client: httpx.Client, tmp_path: Path, data: bytes) -> None:
    served.files[f"/debian/{BIG.path}"] = data
    with pytest.raises(IntegrityError) as caught:
        Fetcher(client, at(served), tmp_path).fetch(lock(BIG), name="x")
    assert BIG.path.rpartition("/")[2] in caught.value.where
    assert not list(tmp_path.glob("*.deb"))


def test_names_all_versions_that_are_gone(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(Gone) as caught:
        Fetcher(client, at(served), tmp_path).fetch(lock(BIG, deb("a"), deb("b", version="2")), name="x")
    assert [package.package for package in caught.value.packages] == ["a", "b"]
    assert not list(tmp_path.glob("*.part"))


def test_asks_the_snapshot_archive_for_what_is_gone(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    old = deb("old")
    served.files[f"/snap/debian/20260101T000000Z/{old.path}"] = old.data
    chosen = at(served, f"{served.url}/snap/{{archive}}/{{date}}")
    (path,) = Fetcher(client, chosen, tmp_path).fetch(lock(old), name="x")
    assert path.read_bytes() == old.data


def test_a_server_error_is_not_taken_for_a_missing_version(tmp_path: Path) -> None:
    transport = httpx.MockTransport(lambda request: httpx.Response(503))
    with httpx.Client(transport=transport) as failing, pytest.raises(RegistryError, match="503") as caught:
        Fetcher(failing, Mirror(main="http://m/debian", security="http://s"), tmp_path).fetch(lock(BIG), name="x")
    assert not isinstance(caught.value, Gone)


def test_an_unreachable_mirror_is_tried_again_and_named(tmp_path: Path) -> None:
    tries = []

    def refuse(request: httpx.Request) -> httpx.Response:
        tries.append(request.url)
        raise httpx.ConnectError("refused")

    with httpx.Client(transport=httpx.MockTransport(refuse)) as client, pytest.raises(RegistryError, match="refused"):
        Fetcher(client, Mirror(main="http://m/debian", security="http://s"), tmp_path).fetch(lock(BIG), name="x")
    assert len(tries) == 3


def test_a_stored_package_of_another_size_is_fetched_again(
    served: Served, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / f"{BIG.sha256}.deb").write_bytes(b"short")
    (path,) = Fetcher(client, at(served), tmp_path).fetch(lock(BIG), name="x")
    assert path.read_bytes() == BIG.data


def test_an_empty_lock_needs_no_mirror(client: httpx.Client, tmp_path: Path) -> None:
    nowhere = Mirror(main="http://m/debian", security="http://s")
    assert Fetcher(client, nowhere, tmp_path).fetch(Lock(request="", packages=()), name="x") == ()


def made_by(package: Deb, **changes: int) -> Lock:
    return Lock(request="", packages=(replace(package.row, **changes),))  # type: ignore[arg-type]


def test_a_lock_with_a_smaller_size_is_refused(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="longer than"):
        Fetcher(client, at(served), tmp_path).fetch(made_by(BIG, size_bytes=10), name="x")
