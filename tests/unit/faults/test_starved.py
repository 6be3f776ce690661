"""Full disks, and registries that fail now and then: the same command later succeeds, and the store stays whole."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import httpx
import pytest

from moby.errors import MobyError, PlatformError
from moby.oci.reference import Reference
from moby.oci.registry import Registry
from moby.oci.store import Store
from tests.support.faults import Runner, faults_of, has_namespaces
from tests.support.images import MadeImage, image
from tests.support.pulling import AMD64, Puller
from tests.support.registry import Answer, FakeRegistry, Request
from tests.unit.faults.conftest import Say
from tests.unit.faults.test_killed import final

MAX_S = 20


def large() -> MadeImage:
    """3 MB in one layer, which nothing can shrink."""
    return image([{"a": "1"}, {"big": random.Random(2).randbytes(3_000_000)}], compression="none")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Runner]:
    """A runner whose ``disk`` holds 2 MiB; where no file system can be mounted, one without."""
    with Runner(tmp_path, disk="2m" if has_namespaces() else "") as runner:
        yield runner


def starve(small: Runner, say: Say) -> tuple[int, str]:
    """How a full disk is had here: the largest file that may be written (0 is any), and the folder to fill."""
    if has_namespaces():
        return 0, str(small.folder / "disk")
    say("no file system can be mounted here: a limit on the size of files stands in for a full disk")
    return 1_000_000, str(small.folder)


def test_a_full_disk_ends_a_pull_with_advice_and_the_next_one_succeeds(small: Runner, tmp_path: Path, say: Say) -> None:
    limit, folder = starve(small, say)
    store = f"{folder}/store"
    with FakeRegistry() as fake:
        fake.put("x", "1", large())
        words = ("pull", f"{fake.host}/x:1", "--cache", store)
        done = small.run(*words, limit_bytes=limit)
        assert done.status == 1, done.said
        assert "cannot write to the image store" in done.said
        assert "choose another --cache directory" in done.said
        assert small.run("verify", "--cache", store).said == "\n"
        if not limit:
            assert small.run("grow", "16m").status == 0
        done = small.run(*words)
        assert done.status == 0, done.said
        assert small.run("verify", "--cache", store).said == "\n"


@pytest.mark.parametrize("name", ["kernel+initrd", "tar"])
def test_a_full_disk_leaves_the_old_output_and_the_next_build_succeeds(
    small: Runner, tmp_path: Path, say: Say, name: str
) -> None:
    limit, folder = starve(small, say)
    with FakeRegistry() as fake:
        fake.put("x", "1", large())
        (tmp_path / "a.yml").write_text(f"init: ['{fake.host}/x:1']\n")
        (tmp_path / "small.yml").write_text("files: [{path: a, contents: b}]\n")
        words = ["build", "--cache", str(tmp_path / "store"), "-f", name, "--arch", "amd64", "--dir", folder]
        assert small.run(*words, "--name", "a", "small.yml").status == 0
        listed = small.run("list", folder).said
        assert small.run("pull", f"{fake.host}/x:1").status == 0
        done = small.run(*words, "a.yml", limit_bytes=limit)
        assert done.status == 1, done.said
        assert "Traceback" not in done.said
        assert "No space left" in done.said or limit, done.said
        assert small.run("list", folder).said == listed
        assert small.run("verify").said == "\n"
        if not limit:
            assert small.run("grow", "16m").status == 0
        done = small.run(*words, "a.yml")
        assert done.status == 0, done.said
        assert small.run("list", folder).said != listed


def test_an_output_stream_that_is_full_is_an_error(tmp_path: Path) -> None:
    with Runner(tmp_path) as runner:
        (tmp_path / "a.yml").write_text("files: [{path: a, contents: b}]\n")
        done = runner.run("build", "-f", "tar", "--arch", "amd64", "-o", "/dev/full", "a.yml")
    assert done.status == 1
    assert "No space left" in done.said
    assert "Traceback" not in done.said


def test_a_limit_on_files_is_no_reason_to_crash(tmp_path: Path) -> None:
    with FakeRegistry() as fake, Runner(tmp_path) as runner:
        fake.put("x", "1", large())
        done = runner.run("pull", f"{fake.host}/x:1", limit_bytes=1_000_000)
        assert done.status == 1
        assert "File too large" in done.said
        assert runner.run("verify").said == "\n"
        assert runner.run("pull", f"{fake.host}/x:1").status == 0


# Registries.


class Moody:
    """A registry that fails at random, ``left`` times: it cuts, stalls, lies about lengths and bytes, answers 500."""

    def __init__(self, fake: FakeRegistry, seed: int) -> None:
        self._fake, self._chance = fake, random.Random(seed)
        self.left = self._chance.randint(1, 12)

    def __call__(self, request: Request) -> Answer | None:
        if self.left == 0 or self._chance.random() < 0.4:
            return None
        self.left -= 1
        good = self._fake.answer(request)
        body = good.body
        match self._chance.randrange(7):
            case 0:
                return Answer(status=self._chance.choice((500, 502, 503, 504, 429)))
            case 1:
                return Answer(status=good.status, headers=good.headers, body=body, cut=len(body) // 2)
            case 2:
                return Answer(status=good.status, headers=good.headers, body=body, length=len(body) + 999)
            case 3:
                return Answer(status=good.status, headers=good.headers, body=body[:-1], length=len(body) - 1)
            case 4:
                return Answer(status=good.status, headers=good.headers, body=body[:-1] + b"?")
            case 5:
                return Answer(status=good.status, headers=good.headers, body=body + b"more")
            case _:
                time.sleep(0.25)
                return None


def picture() -> MadeImage:
    return image([{"a": "1"}, {"big": random.Random(3).randbytes(200_000)}, {"b": "2"}])


@pytest.mark.parametrize("count", [40, pytest.param(800, marks=pytest.mark.long)])
def test_a_moody_registry_ends_in_an_image_or_an_error_and_then_in_the_image(
    tmp_path: Path, say: Say, count: int
) -> None:
    failures = 0
    with FakeRegistry() as fake, httpx.Client(timeout=0.2) as impatient:
        fake.put("x", "1", [picture(), image([], architecture="arm64")])
        name = f"{fake.host}/x:1"
        Puller(impatient).pull(name, Store(tmp_path / "wanted"))
        wanted = final(tmp_path / "wanted")
        for seed in range(count):
            store = Store(tmp_path / f"store{seed}")
            fake.rules[:] = [Moody(fake, seed)]
            begin = time.monotonic()
            try:
                Puller(impatient).pull(name, store)
            except MobyError as error:
                failures += 1
                assert str(error), seed
            assert time.monotonic() - begin < MAX_S, seed
            assert faults_of(store.root) == [], seed
            assert list((store.root / "ingest").glob("*")) == [], seed
            fake.rules.clear()
            assert Puller(impatient).pull(name, store) == ["a", "big", "b"], seed
            assert final(store.root) == wanted, seed
    say(f"{count} pulls from a moody registry, {failures} of them failed at first")
    assert 0 < failures < count


def test_a_push_to_a_moody_registry_ends_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    made = picture()
    with FakeRegistry() as fake, httpx.Client(timeout=1) as client:
        name = f"{fake.host}/x:1"
        made.save(store, name)
        registry = Registry(lambda: client, sleep=lambda seconds: None)
        for seed in range(20):
            chance = random.Random(seed)
            statuses = [chance.choice((500, 503, 429, 0, 0, 0)) for _ in range(8)]
            fake.rules[:] = [partial(_next, statuses)]
            try:
                registry.push(name, Reference.parse(name), store)
            except MobyError as error:
                assert str(error), seed
            fake.rules.clear()
            registry.push(name, Reference.parse(name), store)
            assert registry.pull(Reference.parse(name), AMD64, Store(tmp_path / f"back{seed}")).layers
            fake.blobs.clear()
            fake.manifests.clear()


def _next(left: list[int], request: Request) -> Answer | None:
    status = left.pop() if left else 0
    return Answer(status=status) if status else None


def test_no_error_of_the_disk_is_a_bug(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file where the store should be")
    with FakeRegistry() as fake, httpx.Client() as client, pytest.raises(PlatformError):
        fake.put("x", "1", picture())
        Puller(client).pull(f"{fake.host}/x:1", Store(tmp_path / "store"))
