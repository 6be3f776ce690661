"""``moby lock`` and ``moby build --locked``, with a registry whose tags move."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.oci.digest import Digest
from moby.oci.store import Store
from tests.support.images import MadeImage, image
from tests.support.registry import FakeRegistry

Moby = Callable[..., tuple[int, str, str]]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@pytest.fixture
def moby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Moby:
    """Runs ``moby`` in an empty directory; gives status, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(words)
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def both(text: str) -> list[MadeImage]:
    return [image([{"a": text}, {each: "1"}], architecture=each) for each in ("amd64", "arm64")]


def yaml(name: str, *images: str) -> None:
    services = "".join(f"  - {{name: s{number}, image: '{each}'}}\n" for number, each in enumerate(images))
    Path(name).write_text(f"services:\n{services}")


def content(moby: Moby, *words: str) -> str:
    """The file that the build's first service has."""
    status, _, err = moby("build", "--arch", "amd64", "-f", "tar", "-o", "out.tar", *words)
    assert status == 0, err
    with tarfile.open(fileobj=io.BytesIO(Path("out.tar").read_bytes())) as archive:
        stream = archive.extractfile("containers/services/s0/lower/a")
        assert stream is not None
        return stream.read().decode()


def test_a_lock_holds_a_tag_that_moves(moby: Moby, fake: FakeRegistry) -> None:
    name = f"{fake.host}/x:1"
    old = fake.put("x", "1", both("old"))
    yaml("web.yml", name)
    status, out, _ = moby("lock", "web.yml")
    assert (status, out.splitlines()[0]) == (0, name)
    text = Path("moby.lock").read_text()
    assert f"\n{name} {old}\n  linux/amd64 {both('old')[0].descriptor.digest}\n  linux/arm64 " in text
    new = fake.put("x", "1", both("new"))
    assert content(moby, "web.yml") == "old"
    assert content(moby, "--locked", "web.yml") == "old"
    assert content(moby, "--pull", "web.yml") == "old"
    assert moby("lock", "web.yml")[1] == ""
    assert Path("moby.lock").read_text() == text
    _, out, _ = moby("lock", "--update")
    was, now = (each[0].descriptor.digest.hex[:12] for each in (both("old"), both("new")))
    assert f"  linux/amd64 sha256:{was} → sha256:{now}\n" in out
    assert str(new) in Path("moby.lock").read_text()
    assert content(moby, "--locked", "web.yml") == "new"


def test_locking_pulls_no_layers(moby: Moby, fake: FakeRegistry, tmp_path: Path) -> None:
    fake.put("x", "1", both("1"))
    fake.put("single", "1", both("1")[0])
    yaml("web.yml", f"{fake.host}/x:1", f"{fake.host}/single:1")
    assert moby("lock", "web.yml")[0] == 0
    config = json.loads(both("1")[0].manifest)["config"]["digest"]
    assert [each.path for each in fake.asked("/blobs/")] == [f"/v2/single/blobs/{config}"]


def test_the_name_in_the_image_is_as_written(moby: Moby, fake: FakeRegistry) -> None:
    fake.put("x", "1", both("1"))
    yaml("web.yml", f"{fake.host}/x:1")
    assert content(moby, "web.yml") == "1"
    plain = Path("out.tar").read_bytes()
    moby("lock", "web.yml")
    assert content(moby, "web.yml") == "1"
    assert Path("out.tar").read_bytes() == plain


def test_locked_refuses_drift(moby: Moby, fake: FakeRegistry) -> None:
    for name in ("x", "y"):
        fake.put(name, "1", both(name))
    x, y = f"{fake.host}/x:1", f"{fake.host}/y:1"
    yaml("web.yml", x)
    build = ("build", "--arch", "amd64", "-f", "tar", "-o", "out.tar", "--locked", "web.yml")
    assert f"{x}: not pinned: there is no file moby.lock\n  fix: pin it: moby lock FILE.yml" in moby(*build)[2]
    moby("lock", "web.yml")
    yaml("web.yml", x, y)
    status, _, err = moby(*build)
    assert status == 1
    assert f"{y}: not pinned in moby.lock" in err
    assert not Path("out.tar").exists()
    _, out, _ = moby("lock", "web.yml")
    assert out.splitlines()[0] == y
    assert moby(*build)[0] == 0
    fake.manifests.clear()
    assert moby(*build)[0] == 0  # all of it is in the store


def test_one_image_is_updated_and_unused_ones_are_dropped(moby: Moby, fake: FakeRegistry) -> None:
    x, y = f"{fake.host}/x:1", f"{fake.host}/y:1"
    for name in ("x", "y"):
        fake.put(name, "1", both("old"))
    yaml("web.yml", x, y)
    moby("lock", "web.yml")
    for name in ("x", "y"):
        fake.put(name, "1", both("new"))
    shown = json.loads(moby("lock", "--json", "--update", y)[1])
    (change,) = shown["changes"]
    assert (shown["lock"], change["reference"]) == ("moby.lock", y)
    assert change["before"]["images"].keys() == change["after"]["images"].keys() == {"linux/amd64", "linux/arm64"}
    assert moby("lock", "--update", f"{fake.host}/z:1")[0] == 1
    yaml("web.yml", x)
    assert moby("lock", "web.yml")[1] == ""
    assert moby("lock", "--prune", "web.yml")[1].splitlines()[0] == y
    assert y not in Path("moby.lock").read_text()


def test_files_and_imported_images_are_pinned_too(moby: Moby, tmp_path: Path, fake: FakeRegistry) -> None:
    theirs, store = Store(tmp_path / "here/layout"), Store(tmp_path / "home/.cache/moby/store")
    image([{"a": "old"}]).save(theirs, "docker.io/library/a:1")
    local = f"{fake.host}/local:1"
    image([{"b": "1"}]).save(store, local)
    yaml("web.yml", "oci:./layout", local)
    status, _, err = moby("lock", "web.yml")
    assert status == 0
    assert f"{local}: as the store has it" in err
    assert content(moby, "--locked", "web.yml") == "old"
    image([{"a": "new"}]).save(theirs, "docker.io/library/a:1")
    status, _, err = moby("build", "--arch", "amd64", "-f", "tar", "-o", "out.tar", "web.yml")
    assert status == 1
    assert "layout: it holds no 'sha256:" in err
    assert moby("lock", "--update", "oci:./layout")[0] == 0
    assert content(moby, "--locked", "web.yml") == "new"


def test_components_and_digests_are_not_in_the_lock(moby: Moby, fake: FakeRegistry) -> None:
    digest = fake.put("x", "1", both("1"))
    y = f"{{name: y, image: '{fake.host}/y:1'}}"
    fake.put("y", "1", both("2"))
    Path("web.yml").write_text(f"init: ['@pkg:init']\nservices: [{{name: s0, image: '{fake.host}/x@{digest}'}}, {y}]\n")
    assert moby("lock", "web.yml")[0] == 0
    assert Digest.parse(str(digest)).hex not in Path("moby.lock").read_text()
    assert "localhost" not in Path("moby.lock").read_text()


def test_where_nothing_needs_a_pin_no_lock_is_written_nor_asked_for(moby: Moby, fake: FakeRegistry) -> None:
    digest = fake.put("x", "1", both("1"))
    Path("web.yml").write_text(f"services: [{{name: s0, image: '{fake.host}/x@{digest}'}}]\n")
    Path("own.yml").write_text("init: ['@pkg:init']\n")
    for words in (["web.yml"], ["own.yml"], ["--update", "web.yml"], ["--prune", "web.yml"]):
        status, out, err = moby("lock", *words)
        assert (status, out) == (0, "")
        assert "nothing to lock, as components and names with a digest need no pin: moby.lock is not written" in err
        assert not Path("moby.lock").exists()
    assert json.loads(moby("lock", "--json", "web.yml")[1]) == {"lock": "moby.lock", "changes": []}
    assert content(moby, "--locked", "web.yml") == "1"


@pytest.mark.parametrize("locked", [["--locked"], []], ids=["locked", ""])
def test_a_lock_that_is_named_must_be_there_even_where_nothing_needs_a_pin(moby: Moby, locked: list[str]) -> None:
    Path("own.yml").write_text("init: ['@pkg:init']\n")
    command = ["build", "-f", "tar", "-o", "out.tar", *locked, "--lock", "typo.lock"]
    for words in ([*command, "own.yml"], [*command, "--dry-run", "--json", "own.yml"]):
        status, _, err = moby(*words)
        assert status == 1
        assert "--lock typo.lock: there is no such file\n  fix: make it: moby lock --lock typo.lock FILE.yml\n" in err


def test_a_lock_that_is_there_stays_where_nothing_needs_a_pin_until_it_is_pruned(
    moby: Moby, fake: FakeRegistry
) -> None:
    digest = fake.put("x", "1", both("1"))
    yaml("web.yml", f"{fake.host}/x:1")
    moby("lock", "web.yml")
    before = Path("moby.lock").read_text()
    yaml("web.yml", f"{fake.host}/x@{digest}")
    assert "need no pin: moby.lock stays as it is" in moby("lock", "web.yml")[2]
    assert Path("moby.lock").read_text() == before
    assert moby("lock", "--prune", "web.yml")[1].splitlines()[0] == f"{fake.host}/x:1"
    assert f"{fake.host}/x" not in Path("moby.lock").read_text()
    assert content(moby, "--locked", "web.yml") == "1"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lock"], "no YAML file to pin the images of"),
        (["lock", "nginx:1"], "no YAML file to pin the images of"),
        (["lock", "web.yml", "nginx:1"], "'docker.io/library/nginx:1' is no YAML file"),
        (["lock", "--update"], "moby.lock: there is no such file"),
        (["lock", "--prune", "--update"], "--prune needs the files"),
        (["lock", "none.yml"], "none.yml: cannot read it"),
    ],
)
def test_what_cannot_be_locked_is_told(moby: Moby, words: list[str], said: str) -> None:
    yaml("web.yml", "oci:./layout")
    status, _, err = moby(*words)
    assert status == 1
    assert said in err
    assert not Path("moby.lock").exists()
