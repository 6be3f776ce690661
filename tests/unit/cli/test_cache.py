"""``moby cache``: each verb as a user types it."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.oci import blob
from moby.oci.store import Store
from tests.support.images import MadeImage, image
from tests.support.pulling import state
from tests.support.registry import FakeRegistry

Moby = Callable[..., tuple[int, str, str]]
A, B = "docker.io/library/a:1", "docker.io/library/b:1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def moby(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Moby:
    """Runs ``moby cache``; gives status, stdout and stderr."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOBY_CACHE", str(store.root))
    monkeypatch.chdir(tmp_path)

    def run(*words: str | Path) -> tuple[int, str, str]:
        status = cli.main(["cache", *map(str, words)])
        shown = capsys.readouterr()
        return status, shown.out, shown.err

    return run


def made(text: str = "1", architecture: str = "amd64") -> MadeImage:
    return image([{"a": text}], architecture=architecture)


def test_ls_prints_as_the_original_does(moby: Moby, store: Store) -> None:
    assert moby("ls")[1] == f"{'image name':<80} root manifest hash\n"
    made().save(store, A)
    made().save(store, B)
    digest = store.descriptors(A)[0].digest
    assert moby("ls")[1].splitlines()[1:] == [f"{A:<80} {digest}", f"{B:<80} {digest}"]


def test_ls_as_json(moby: Moby, store: Store) -> None:
    made().save(store, A)
    (found,) = json.loads(moby("ls", "--json")[1])["images"]
    assert (found["name"], found["platforms"]) == (A, ["linux/amd64"])
    assert found["digest"] == str(store.descriptors(A)[0].digest)
    assert found["size_bytes"] > 0


def test_rm_takes_short_names(moby: Moby, store: Store) -> None:
    made().save(store, A)
    made("2").save(store, B)
    status, out, err = moby("rm", "a:1")
    assert (status, out) == (0, f"{A}\n")
    assert "MB freed" in err
    assert store.names() == (B,)
    assert moby("rm", "c:1")[0] == 1


def test_gc_and_its_limit(moby: Moby, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert moby("gc")[0] == 0
    made().save(store, A)
    store.put_blob(b"x" * 1000, "text/plain")
    shown = json.loads(moby("gc", "--json", "--dry-run", "--limit", "1")[1])
    assert (shown["removed"], shown["blobs"]) == ([A], 5)
    assert json.loads(moby("gc", "--json")[1]) == {"removed": [], "blobs": 1, "size_bytes": 1000}
    monkeypatch.setenv("MOBY_CACHE_LIMIT", "1")
    assert moby("gc")[1] == f"{A}\n"
    assert moby("gc", "--limit", "x")[2].startswith("moby: error: --limit: 'x' is not a size")


def test_clean(moby: Moby, store: Store) -> None:
    made().save(store, A)
    assert moby("clean")[1] == f"{A}\n"
    assert not store.root.exists()


def test_a_file_goes_out_and_comes_in(moby: Moby, store: Store, tmp_path: Path) -> None:
    made().save(store, A)
    assert moby("export", "--platform", "linux/amd64", "--outfile", "x.tar", "a:1")[:2] == (0, "x.tar\n")
    before = state(store)
    moby("clean")
    digest = made().descriptor.digest
    assert moby("import", "x.tar")[1] == f"{A} {digest}\n"
    assert json.loads(moby("import", "--json", "--name", "b:1", "x.tar")[1])["imported"][0]["name"] == B
    assert {name for name in state(store) if name.startswith("blobs/")} < set(before)
    assert [path.name for path in tmp_path.glob(".x.tar*")] == []


def test_stdout_and_stdin(moby: Moby, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made().save(store, A)
    out = io.TextIOWrapper(io.BytesIO())
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", out)
        assert cli.main(["cache", "export", "--platform", "linux/amd64", "--outfile", "-", "a:1"]) == 0
    moby("clean")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.buffer.getvalue())))
    assert moby("import", "-")[0] == 0
    assert store.names() == (A,)


def test_an_image_of_the_engine_goes_out_under_its_own_name(moby: Moby, store: Store) -> None:
    made().save(store, B)
    store.tag(f"docker-engine:{A}", store.descriptors(B)[0].changed(annotations=None))
    for form in ("oci", "docker"):
        words = ("export", "--platform", "linux/amd64", "--format", form, "--outfile", "x.tar", f"docker-engine:{A}")
        assert moby(*words)[0] == 0
        assert moby("import", "x.tar")[1].startswith(f"{A} ")


def test_a_failed_export_leaves_the_old_file(moby: Moby, store: Store, tmp_path: Path) -> None:
    saved = made().save(store, A)
    (tmp_path / "x.tar").write_text("old")
    path = blob.path(store.root, saved.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    assert moby("export", "--platform", "linux/amd64", "--outfile", "x.tar", "a:1")[0] == 1
    assert (tmp_path / "x.tar").read_text() == "old"
    assert sorted(each.name for each in tmp_path.iterdir()) == ["store", "x.tar"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["export", "--outfile", "-", "--json", "a:1"], "cannot both go to stdout"),
        (["export", "--outfile", "/none/x.tar", "a:1"], "cannot write it: No such file"),
        (["export", "--outfile", "x", "--name", "y", "a:1", "b:1"], "--name is for one image"),
        (["push", "--remote-name", "x", "a:1", "b:1"], "--remote-name is for one image"),
        (["pull", "--platform", "a/b/c/d", "a:1"], "is not a platform"),
        (["import", "none.tar"], "none.tar: cannot read it: No such file"),
        (["verify", "c:1"], "the store has no image of this name"),
    ],
)
def test_what_cannot_be_done_is_told(moby: Moby, store: Store, words: list[str], said: str) -> None:
    made().save(store, A)
    made().save(store, B)
    status, _, err = moby(*words)
    assert status == 1
    assert said in err


def test_pull_fetches_anew_and_all_platforms_when_told(moby: Moby, store: Store) -> None:
    with FakeRegistry() as fake:
        name = f"{fake.host}/a:1"
        old = fake.put("a", "1", made("old"))
        assert moby("pull", "--platform", "linux/amd64", name)[1] == f"{name} {old}\n"
        new = fake.put("a", "1", [made("new"), made("new", "arm64")])
        assert moby("pull", "--platform", "all", name)[1] == f"{name} {new}\n"
        (shown,) = json.loads(moby("ls", "--json")[1])["images"]
        assert shown["platforms"] == ["linux/amd64", "linux/arm64"]


def test_pull_takes_files_too(moby: Moby, store: Store, tmp_path: Path) -> None:
    made().save(Store(tmp_path / "layout"), A)
    assert moby("pull", "--platform", "linux/amd64", "oci:./layout")[0] == 0
    assert store.names() == (f"oci:{tmp_path}/layout",)
    assert moby("rm", "oci:./layout")[0] == 0


def test_push_says_what_came_of_it(moby: Moby, store: Store) -> None:
    made().save(store, A)
    digest = store.descriptors(A)[0].digest
    with FakeRegistry() as fake:
        name = f"{fake.host}/org/x:1"
        assert moby("push", "--remote-name", name, "a:1")[:2] == (0, f"{name} {digest}\n")
        (shown,) = json.loads(moby("push", "--json", "--remote-name", name, "a:1")[1])["pushed"]
        assert (shown["outcome"], shown["reference"]) == ("unchanged", name)
        moby("clean")
        made("other").save(store, A)
        status, out, err = moby("push", "--remote-name", name, "a:1")
        assert (status, out) == (0, f"{name} {digest}\n")
        assert f"{name} is another image there and stays; --override replaces it" in err
        assert moby("push", "--override", "--with-arch-tags", "--remote-name", name, "a:1")[0] == 0
        assert {tag for _, tag in fake.manifests} > {"1", "1-amd64"}


def test_only_what_is_published_is_removed(moby: Moby, store: Store) -> None:
    with FakeRegistry() as fake:
        same, other, local = (f"{fake.host}/{name}:1" for name in ("same", "other", "local"))
        for name in (same, other):
            fake.put(name.rpartition("/")[2][:-2], "1", made())
            moby("pull", "--platform", "linux/amd64", name)
        fake.put("other", "1", made("new"))
        made().save(store, local)
        assert moby("clean", "--published-only")[1] == f"{same}\n"
        assert moby("rm", "--published-only", other)[1] == ""
        assert store.names() == tuple(sorted((local, other)))


def test_verify_has_a_status(moby: Moby, store: Store) -> None:
    saved = made().save(store, A)
    status, out, err = moby("verify")
    assert (status, out) == (0, "")
    assert "1 images, 4 blobs" in err
    path = blob.path(store.root, saved.layers[0].digest)
    path.write_bytes(b"x" * path.stat().st_size)
    status, out, _ = moby("verify", "--json", "a:1")
    assert status == 1
    assert json.loads(out)["damages"][0]["digest"] == str(saved.layers[0].digest)
    assert moby("verify", "--repair")[0] == 1
    assert not path.exists()


def test_a_build_that_pulls_respects_the_limit(moby: Moby, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    made().save(store, A)
    monkeypatch.setenv("MOBY_CACHE_LIMIT", "1")
    monkeypatch.setattr("moby.oci.usage._ROUNDING_S", -1)  # what was just put in is old
    assert cli.main(["build", "-f", "tar", "-o", "out.tar", "empty.yml"]) == 1  # a failed build evicts nothing
    assert store.names() == (A,)
    Path("empty.yml").write_text("files: [{path: etc/x, contents: hi}]\n")
    assert cli.main(["build", "-f", "tar", "-o", "out.tar", "empty.yml"]) == 0
    assert store.names() == ()
