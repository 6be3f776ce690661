"""Packages arrive whole and right, or not at all."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from moby.components.fetch import Fetcher, Gone
from moby.components.lock import Lock
from moby.components.mirror import Mirror
from moby.errors import IntegrityError, RegistryError
from tests.support.debs import Deb, Served, deb, lock, mirror

NOWHERE = Mirror(main="http://m/debian", security="http://s")
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
    with pytest.raises(RegistryError, match="503") as caught:
        answered(tmp_path, *[httpx.Response(503)] * 3)
    assert not isinstance(caught.value, Gone)


def answered(folder: Path, *answers: httpx.Response) -> tuple[bytes, list[httpx.Request], list[float]]:
    """What is fetched from a mirror that answers so, one after the other; what it was asked, and the waits."""
    asked: list[httpx.Request] = []
    slept: list[float] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answers[len(asked) - 1]

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        fetcher = Fetcher(client, NOWHERE, folder, sleep=slept.append)
        (path,) = fetcher.fetch(lock(BIG), name="x")
    return path.read_bytes(), asked, slept


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_what_may_pass_is_tried_again_and_the_partial_file_kept(tmp_path: Path, status: int) -> None:
    (tmp_path / f"{BIG.sha256}.part").write_bytes(BIG.data[:1000])
    rest = {"Content-Range": f"bytes 1000-{len(BIG.data) - 1}/{len(BIG.data)}"}
    whole = httpx.Response(206, headers=rest, stream=httpx.ByteStream(BIG.data[1000:]))
    data, asked, slept = answered(tmp_path, httpx.Response(status), whole)
    assert data == BIG.data
    assert [each.headers["Range"] for each in asked] == ["bytes=1000-"] * 2
    assert slept == [1]


def test_waits_as_long_as_the_mirror_says_but_not_for_hours(tmp_path: Path) -> None:
    busy = httpx.Response(429, headers={"Retry-After": "7"})
    data, _, slept = answered(tmp_path / "a", busy, httpx.Response(200, stream=httpx.ByteStream(BIG.data)))
    assert (data, slept) == (BIG.data, [7])
    with pytest.raises(RegistryError, match="429"):
        answered(tmp_path / "b", httpx.Response(429, headers={"Retry-After": "7200"}))


def test_a_partial_file_that_the_mirror_refuses_is_dropped(tmp_path: Path) -> None:
    (tmp_path / f"{BIG.sha256}.part").write_bytes(BIG.data[:1000])
    data, asked, _ = answered(tmp_path, httpx.Response(416), httpx.Response(200, stream=httpx.ByteStream(BIG.data)))
    assert data == BIG.data
    assert [each.headers.get("Range") for each in asked] == ["bytes=1000-", None]


@pytest.mark.parametrize("shown", ["bytes 5-99/100", ""])
def test_another_part_than_asked_for_is_not_believed(tmp_path: Path, shown: str) -> None:
    (tmp_path / f"{BIG.sha256}.part").write_bytes(BIG.data[:1000])
    other = httpx.Response(206, headers={"Content-Range": shown}, stream=httpx.ByteStream(BIG.data[5:]))
    data, asked, _ = answered(tmp_path, other, httpx.Response(200, stream=httpx.ByteStream(BIG.data)))
    assert data == BIG.data
    assert [each.headers.get("Range") for each in asked] == ["bytes=1000-", None]


def test_asks_for_bytes_that_are_not_compressed(tmp_path: Path) -> None:
    _, asked, _ = answered(tmp_path, httpx.Response(200, stream=httpx.ByteStream(BIG.data)))
    assert asked[0].headers["Accept-Encoding"] == "identity"


def test_a_lock_on_a_file_that_went_away_is_worth_nothing(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    """Another process has the lock, gives up, and removes the file that we wait for."""
    part = tmp_path / f"{BIG.sha256}.part"
    with part.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with ThreadPoolExecutor(1) as pool:
            task = pool.submit(Fetcher(client, at(served), tmp_path).fetch, lock(BIG), name="x")
            while not waits_for(part):
                time.sleep(0.01)
            part.unlink()
            fcntl.flock(other, fcntl.LOCK_UN)
            (path,) = task.result(10)
    assert path.read_bytes() == BIG.data
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".deb"]


def waits_for(path: Path) -> bool:
    """Whether somebody waits for a lock on the file."""
    inode = f":{path.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def test_many_processes_bring_a_package_once(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    fetchers = [Fetcher(client, at(served), tmp_path) for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        tasks = [pool.submit(each.fetch, lock(BIG), name="x") for each in fetchers]
        assert {task.result(30)[0].read_bytes() for task in tasks} == {BIG.data}
    assert len(served.asked) == 1
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".deb"]


def test_an_unreachable_mirror_is_tried_again_and_named(tmp_path: Path) -> None:
    tries = []

    def refuse(request: httpx.Request) -> httpx.Response:
        tries.append(request.url)
        raise httpx.ConnectError("refused")

    with httpx.Client(transport=httpx.MockTransport(refuse)) as client, pytest.raises(RegistryError, match="refused"):
        Fetcher(client, NOWHERE, tmp_path, sleep=lambda seconds: None).fetch(lock(BIG), name="x")
    assert len(tries) == 3


def test_a_stored_package_of_another_size_is_fetched_again(
    served: Served, client: httpx.Client, tmp_path: Path
) -> None:
    (tmp_path / f"{BIG.sha256}.deb").write_bytes(b"short")
    (path,) = Fetcher(client, at(served), tmp_path).fetch(lock(BIG), name="x")
    assert path.read_bytes() == BIG.data


def test_an_empty_lock_needs_no_mirror(client: httpx.Client, tmp_path: Path) -> None:
    assert Fetcher(client, NOWHERE, tmp_path).fetch(Lock(request="", packages=()), name="x") == ()


def made_by(package: Deb, **changes: int) -> Lock:
    return Lock(request="", packages=(replace(package.row, **changes),))  # type: ignore[arg-type]


def test_a_lock_with_a_smaller_size_is_refused(served: Served, client: httpx.Client, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="longer than"):
        Fetcher(client, at(served), tmp_path).fetch(made_by(BIG, size_bytes=10), name="x")
