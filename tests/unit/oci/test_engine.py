"""Images from a Docker or Podman engine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from moby.errors import IntegrityError, RegistryError
from moby.oci import layers
from moby.oci.digest import Digest
from moby.oci.engine import Engine, address
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.resolve import ImageSource, PullPolicy
from moby.oci.store import Store
from tests.support.engine import FakeEngine, fake_engine, saved
from tests.support.images import image
from tests.support.pulling import state

AMD64, ARM64 = Platform.parse("amd64"), Platform.parse("arm64")
A1 = Reference.parse("a:1")


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[FakeEngine]:
    with fake_engine(tmp_path / "docker.sock") as made:
        yield made


def source(engine: FakeEngine, store: Store, pull: PullPolicy = PullPolicy.MISSING) -> ImageSource:
    return ImageSource(store, None, pull, engine=Engine(address=engine.url, environment={}))


@pytest.mark.shows("Images from a Docker or Podman engine", by="fake")
def test_an_image_comes_from_the_engine(engine: FakeEngine, store: Store) -> None:
    engine.images[str(A1)] = saved([{"a": "1"}, {"b": "x" * 20_000}, {"a": "1"}], ["a:1"])
    found = source(engine, store).resolve(A1, AMD64)
    assert found.config.cmd == ("/a",)
    assert found.reference == A1
    assert sorted(entry.path for entry in layers.entries(store, found)) == ["a", "b"]
    assert store.names() == ("docker-engine:docker.io/library/a:1",)
    assert store.find(A1, AMD64) is None  # the name itself stays that of the registry's image


def test_what_did_not_change_is_not_copied_again(engine: FakeEngine, store: Store) -> None:
    engine.images[str(A1)] = saved([{"a": "1"}], ["a:1"])
    first = source(engine, store).resolve(A1, AMD64)
    before = state(store)
    assert source(engine, store).resolve(A1, AMD64) == first
    assert [path.rpartition("/")[2] for path in engine.asked] == ["json", "get", "json"]
    assert state(store) == before
    engine.images[str(A1)] = saved([{"a": "2"}], ["a:1"])
    assert source(engine, store).resolve(A1, AMD64).digest != first.digest


def test_the_engine_goes_before_the_store_unless_pulling_is_forced(engine: FakeEngine, store: Store) -> None:
    stored = image([{"stored": "1"}]).save(store, str(A1))
    assert source(engine, store).resolve(A1, AMD64) == stored
    engine.images[str(A1)] = saved([{"a": "1"}], ["a:1"])
    assert source(engine, store).resolve(A1, AMD64) != stored
    engine.asked.clear()
    with pytest.raises(RegistryError, match="not looked at, as pulling is forced"):
        source(engine, store, PullPolicy.ALWAYS).resolve(A1, AMD64)
    assert engine.asked == []


@pytest.mark.parametrize(
    ("name", "architecture", "said"),
    [
        ("b:1", "amd64", "No such image: docker.io/library/a:1"),
        ("a:1", "arm64", "it has the image for linux/arm64 only"),
    ],
)
def test_what_the_engine_said_is_listed_first(
    engine: FakeEngine, store: Store, name: str, architecture: str, said: str
) -> None:
    engine.images[str(Reference.parse(name))] = saved([{"a": "1"}], [name], architecture=architecture)
    with pytest.raises(RegistryError) as caught:
        source(engine, store).resolve(A1, AMD64)
    lines = str(caught.value).splitlines()
    assert lines[1] == f"  1. engine {engine.url}: {said}"
    assert lines[2] == f"  2. store {store.root}: not there"
    assert lines[3] == "  3. registry docker.io: not asked, as pulling is turned off"


def test_no_engine_is_told_and_passed_over(tmp_path: Path, store: Store) -> None:
    for where, said in (
        (f"unix://{tmp_path}/none.sock", "cannot be reached: no such socket"),
        ("tcp://127.0.0.1:1", "cannot be reached: .*refused"),
        ("ssh://host", "not an address of an engine"),
    ):
        engine = Engine(address=where, environment={})
        with pytest.raises(RegistryError, match=f"1. engine {where}: {said}"):
            ImageSource(store, None, engine=engine).resolve(A1, AMD64)
        stored = image([{"a": "1"}]).save(store, str(A1))
        assert ImageSource(store, None, engine=engine).resolve(A1, AMD64) == stored
        store.untag([str(A1)])


def test_a_digest_is_not_asked_for(engine: FakeEngine, store: Store) -> None:
    with pytest.raises(RegistryError, match="not asked for a digest"):
        source(engine, store).resolve(Reference.parse(f"a@{Digest.of(b'')}"), AMD64)
    assert engine.asked == []


def test_an_archive_that_is_not_what_its_configuration_says(engine: FakeEngine, store: Store) -> None:
    other = image([{"other": "1"}], compression="none").config
    engine.images[str(A1)] = saved([{"a": "1"}], ["a:1"], config=other)
    with pytest.raises(IntegrityError, match=r"expected layer sha256:\w+, got sha256"):
        source(engine, store).resolve(A1, AMD64)


def test_where_the_engine_listens(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": "/run/u"}
    assert address({**home, "DOCKER_HOST": "tcp://h:1", "CONTAINER_HOST": "unix:///c"}) == "tcp://h:1"
    assert address({**home, "CONTAINER_HOST": "unix:///c"}) == "unix:///c"
    podman = Path("/run/u/podman/podman.sock")
    assert address(home, exists=lambda path: path == podman) == f"unix://{podman}"
    assert address(home, exists=lambda path: False) == "unix:///var/run/docker.sock"


def test_docker_s_context_says_where(tmp_path: Path) -> None:
    def context(name: str, host: str) -> None:
        directory = tmp_path / ".docker/contexts/meta" / hashlib.sha256(name.encode()).hexdigest()
        directory.mkdir(parents=True)
        (directory / "meta.json").write_text(json.dumps({"Name": name, "Endpoints": {"docker": {"Host": host}}}))

    context("mine", "unix:///mine.sock")
    context("other", "unix:///other.sock")
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "mine"}')
    home = {"HOME": str(tmp_path)}
    assert address(home) == "unix:///mine.sock"
    assert address({**home, "DOCKER_CONTEXT": "other"}) == "unix:///other.sock"
    (tmp_path / ".docker/config.json").write_text('{"currentContext": "default"}')
    assert address(home, exists=lambda path: False) == "unix:///var/run/docker.sock"
