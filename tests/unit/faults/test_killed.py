"""Commands that are killed at random points: the same command then succeeds, and nothing half made has a final name.

``MOBY_FAULTS_SEED`` repeats a run; the seed and the number of cases are printed.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.oci.store import Store
from tests.support import images
from tests.support.faults import Result, Runner, faults_of
from tests.support.images import MadeImage, image
from tests.support.registry import FakeRegistry
from tests.unit.faults.conftest import Say

CASES = 20
LONG = 200
KILLED = -9


def made(big_bytes: int = 400_000) -> MadeImage:
    """Three layers, one of them larger than a network buffer."""
    big = random.Random(1).randbytes(big_bytes)
    return image([{"big": big}, {f"f{each}": f"{each}" * 50 for each in range(200)}, {"a": "b"}], {"Cmd": ["/a"]})


def kernel() -> MadeImage:
    return image([{"kernel": "vmlinuz", "kernel.tar": images.tar({"lib/": "", "lib/m.ko": "m" * 9000})}])


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    with Runner(tmp_path) as started:
        yield started


class Killer:
    """Runs one command again and again, each time to another point, half of them by count and half by time."""

    def __init__(self, runner: Runner, words: list[str], seed: int) -> None:
        self._runner, self._words = runner, words
        self._chance = random.Random(seed)
        begin = time.monotonic()
        whole = self.again()
        self._seconds = time.monotonic() - begin
        self._touches = whole.touches
        assert self._touches > 10, whole.said

    def again(self) -> Result:
        """The command, left alone: it must succeed."""
        done = self._runner.run(*self._words)
        assert done.status == 0, done.said
        return done

    def kill(self) -> bool:
        """The command, killed somewhere. False when it was quicker."""
        if self._chance.random() < 0.5:
            return self._runner.run(*self._words, kill_at=self._chance.randint(1, self._touches)).status == KILLED
        run = self._runner.start(self._words)
        time.sleep(self._chance.uniform(0, self._seconds))
        run.kill()
        return run.wait().status == KILLED


def seed_of(say: Say, what: str, count: int) -> int:
    seed = int(os.environ.get("MOBY_FAULTS_SEED") or random.SystemRandom().randrange(1 << 32))
    say(f"{what}: {count} kills, MOBY_FAULTS_SEED={seed}")
    return seed


counts = pytest.mark.parametrize("count", [CASES, pytest.param(LONG, marks=pytest.mark.long)])


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def final(store: Path) -> dict[str, bytes]:
    """What a store holds under final names."""
    return {name: data for name, data in files(store).items() if name.startswith("blobs/") or name == "index.json"}


@counts
def test_a_killed_pull_is_repeated(runner: Runner, tmp_path: Path, say: Say, count: int) -> None:
    seed = seed_of(say, "pull", count)
    with FakeRegistry() as fake:
        fake.put("x", "1", made(5 << 20))
        killer = Killer(runner, ["pull", f"{fake.host}/x:1"], seed)
        wanted, killed = final(tmp_path / "store"), 0
        for _ in range(count):
            shutil.rmtree(tmp_path / "store")
            killed += killer.kill()
            assert faults_of(tmp_path / "store") == [], seed
            assert {name: data for name, data in final(tmp_path / "store").items() if wanted.get(name) != data} == {}
            killer.again()
            assert final(tmp_path / "store") == wanted, seed
    assert killed >= count / 3


TEXT = "kernel: {{image: '{host}/k:1'}}\ninit: ['{host}/x:1']\nservices: [{{name: s, image: '{host}/x:1'}}]\n"


def abandoned(folder: Path) -> list[Path]:
    """What is no file of an output; a build that was killed just when it had made its directory leaves it, empty."""
    return [path for path in folder.iterdir() if path.is_dir() and list(path.iterdir())]


@counts
def test_a_killed_build_is_repeated(runner: Runner, tmp_path: Path, say: Say, count: int) -> None:
    seed = seed_of(say, "build", count)
    with FakeRegistry() as fake:
        fake.put("x", "1", made())
        fake.put("k", "1", kernel())
        (tmp_path / "a.yml").write_text(TEXT.format(host=fake.host))
        (tmp_path / "out").mkdir()
        words = ["build", "--cache", str(tmp_path / "store"), "--arch", "amd64", "-f", "kernel+initrd"]
        killer = Killer(runner, [*words, "--dir", str(tmp_path / "out"), "a.yml"], seed)
        wanted, killed = files(tmp_path / "out"), 0
        assert set(wanted) == {"a-kernel", "a-initrd.img", "a-cmdline"}
        for number in range(count):
            shutil.rmtree(tmp_path / "out")
            (tmp_path / "out").mkdir()
            for name in ("store", "cache") if number % 2 else ():
                shutil.rmtree(tmp_path / name, ignore_errors=True)
            killed += killer.kill()
            assert faults_of(tmp_path / "store") == [], seed
            there = files(tmp_path / "out")
            assert {name for name in there if name in wanted and there[name] != wanted[name]} == set(), seed
            killer.again()
            after = files(tmp_path / "out")
            assert after == wanted, seed
            assert abandoned(tmp_path / "out") == [], seed
    assert killed >= count / 3


@counts
def test_a_killed_push_is_repeated(runner: Runner, tmp_path: Path, say: Say, count: int) -> None:
    seed = seed_of(say, "push", count)
    with FakeRegistry() as fake:
        name = f"{fake.host}/x:1"
        made().save(Store(tmp_path / "store"), name)
        before = files(tmp_path / "store")
        killer = Killer(runner, ["push", name, name], seed)
        wanted, killed = (dict(fake.blobs), dict(fake.manifests)), 0
        for _ in range(count):
            fake.blobs.clear()
            fake.manifests.clear()
            killed += killer.kill()
            assert fake.blobs.items() <= wanted[0].items(), seed
            assert fake.manifests.items() <= wanted[1].items(), seed
            whole(fake)
            killer.again()
            assert (fake.blobs, fake.manifests) == wanted, seed
        assert files(tmp_path / "store") == before
    assert killed >= count / 3


def whole(fake: FakeRegistry) -> None:
    """What a name of the registry leads to is there."""
    for _, data in list(fake.manifests.values()):
        document = json.loads(data)
        for each in [document["config"], *document["layers"]] if "config" in document else []:
            assert each["digest"] in fake.blobs


def test_a_manifest_that_was_cut_short_is_not_taken() -> None:
    head = b"PUT /v2/x/manifests/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
    with FakeRegistry() as fake:
        host, _, port = fake.host.rpartition(":")
        for sent in (b"", b"{}"):
            with socket.create_connection((host, int(port))) as client:
                client.sendall(head + sent)
                client.shutdown(socket.SHUT_WR)
                assert client.recv(1) == b""  # no answer: who asked is gone
        assert fake.manifests == {}
