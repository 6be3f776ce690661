"""Bad input and broken surroundings: one error that says what, where and how to fix; nothing is half written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from moby.cli import main as cli
from moby.config.decode import LABEL
from moby.oci.store import Store
from tests.support.images import image
from tests.support.registry import Answer, FakeRegistry, always, blobs

Moby = Callable[..., tuple[int, str]]


@pytest.fixture
def moby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Moby:
    """Runs a command in an empty directory with a store of its own; gives its status and stderr."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)

    def run(*words: str) -> tuple[int, str]:
        status = cli.main(words)
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return status, said

    return run


def write(text: str) -> None:
    Path("a.yml").write_text(text)


def left() -> list[str]:
    """What is in the directory beside the YAML."""
    return sorted(path.name for path in Path().iterdir() if path.name != "a.yml")


def check_store(tmp_path: Path) -> None:
    """Every blob of the store is what its name says."""
    for path in (tmp_path / "home/.cache/moby/store/blobs").glob("sha256/*"):
        from hashlib import sha256

        assert sha256(path.read_bytes()).hexdigest() == path.name
    Store(tmp_path / "home/.cache/moby/store").names()


def test_a_missing_file(moby: Moby) -> None:
    status, said = moby("build", "nosuch.yml")
    assert status == 1
    assert "moby: error: nosuch.yml: cannot read it: No such file or directory" in said
    assert said.count("moby: error:") == 1
    assert left() == []


def test_a_yaml_fault_has_its_place(moby: Moby) -> None:
    write("kernel:\n  image: x\n init: [a]\n")
    status, said = moby("build", "a.yml")
    assert status == 1
    assert re.search(r"moby: error: a\.yml:3:\d+", said)
    assert left() == []


FAULTY = """\
inti: [a]
init: ["HOST/fine:1", "HOST/gone:1"]
services:
  - {name: web, image: "HOST/labelled:1", command: 5}
  - {name: db, image: "HOST/gone:2"}
"""


@pytest.mark.parametrize("words", [("build",), ("build", "--dry-run", "--json")], ids=" ".join)
def test_faults_of_the_yaml_of_labels_and_missing_images_are_told_at_once_before_any_layer_is_fetched(
    moby: Moby, words: tuple[str, ...]
) -> None:
    with FakeRegistry() as registry:
        layers = put(registry, "fine", "{}") | put(registry, "labelled", '{"pids": "host"}')
        write(FAULTY.replace("HOST", registry.host))
        Path("b.yml").write_text("services: [{name: web, image: '@pkg:iniit'}]\n")
        status, said = moby(*words, "a.yml", "b.yml")
        asked = {request.path.rpartition("/")[2] for request in registry.requests}
    assert status == 1
    label = f"image {registry.host}/labelled:1, label org.mobyproject.config:1:2: unknown key 'pids'"
    lines = [re.sub(r"(yml:\d+):\d+", r"\1", line).split(": image not found")[0] for line in said.splitlines()]
    assert [line for line in lines if line.startswith("moby: error:")] == [
        "moby: error: a.yml:1: unknown key 'inti'",
        f"moby: error: a.yml:2 (init[1]), {registry.host}/gone:1",
        f"moby: error: a.yml:4 (services[0] 'web': image): {label}",
        "moby: error: a.yml:4 (services[0] 'web': command): expected a list, got the number 5",
        f"moby: error: a.yml:5 (services[1] 'db': image), {registry.host}/gone:2",
        "moby: error: b.yml:1 (services[0] 'web': name): duplicate service name 'web', first in a.yml:4",
        "moby: error: b.yml:1 (services[0] 'web': image): no component 'iniit': none is shipped under this name",
    ]
    assert "did you mean 'init'?" in said
    assert not layers & asked, "no layer was fetched"
    assert left() == ["b.yml"]


def put(registry: FakeRegistry, name: str, label: str) -> set[str]:
    """Publish an image with a label; gives the digests of its layers."""
    made = image([{"etc/a": name}], config={"Labels": {LABEL: label}})
    registry.put(name, "1", made)
    return {str(each.digest) for each in made.layer_descriptors}


def test_a_dry_run_fetches_no_layer_and_a_build_then_only_what_was_not_fetched(moby: Moby) -> None:
    with FakeRegistry() as registry:
        layers = put(registry, "x", "{pid: host}")
        write(f"services: [{{name: s, image: '{registry.host}/x:1'}}]\n")
        assert moby("build", "--dry-run", "a.yml")[0] == 0
        assert registry.requests == []
        assert moby("build", "--dry-run", "--json", "a.yml")[0] == 0
        before = [request.path.rpartition("/")[2] for request in registry.asked("/x/")]
        assert (len(before), layers & set(before)) == (2, set())
        assert moby("build", "a.yml")[0] == 0
        after = [request.path.rpartition("/")[2] for request in registry.asked("/x/")]
    assert after.count("1") == 2, "the manifest: once for the dry run, once for the build"
    assert sum(after.count(each) for each in layers) == len(layers)


def test_no_component_is_built_while_something_else_is_wrong(moby: Moby, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MOBY_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    with FakeRegistry() as registry:
        write(
            "init: ['@pkg:nginx']\n"
            "services:\n"
            "  - {name: s, image: '@pkg:nginx', uid: 5}\n"
            f"  - {{name: t, image: '{registry.host}/x:1'}}\n"
        )
        status, said = moby("build", "--arch", "amd64", "a.yml")
        assert (status, said.count("moby: error:")) == (1, 1)
        assert f"a.yml:4:22 (services[1] 't': image), {registry.host}/x:1: image not found" in said
        assert "Building nginx" not in said
        put(registry, "x", "{}")
        status, said = moby("build", "--arch", "amd64", "a.yml")
    assert (status, said.count("moby: error:")) == (1, 1)
    assert "Building nginx" in said


def test_a_registry_that_cannot_be_reached_is_asked_once(moby: Moby) -> None:
    with FakeRegistry() as registry:
        host = registry.host
    write(f"init: ['{host}/x:1', '{host}/y:1']\n")
    status, said = moby("build", "a.yml")
    assert status == 1
    assert said.count("cannot be reached: ") == 1
    assert "not asked again: it cannot be reached" in said


def test_a_file_that_is_not_yaml_is_told_without_asking_for_images(moby: Moby) -> None:
    with FakeRegistry() as registry:
        write(f"init: ['{registry.host}/gone:1']\n")
        Path("b.yml").write_text("init: [x\n")
        status, said = moby("build", "a.yml", "b.yml")
        assert registry.requests == []
    assert status == 1
    assert said.count("moby: error:") == 1
    assert "b.yml:1:7: not YAML" in said


def test_an_unknown_image_lists_where_it_was_looked_for(moby: Moby, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        write(f"init: [{registry.host}/nothing:1]\n")
        status, said = moby("build", "a.yml")
    assert status == 1
    assert "a.yml:1:8 (init[0])" in said
    assert "1. store" in said
    assert "2. registry" in said
    assert left() == []
    check_store(tmp_path)


def test_a_registry_that_is_down(moby: Moby) -> None:
    with FakeRegistry() as registry:
        host = registry.host
    write(f"init: [{host}/x:1]\n")
    status, said = moby("build", "a.yml")
    assert status == 1
    assert "cannot be reached" in said
    assert "is the registry running?" in said
    assert left() == []


def test_a_digest_that_does_not_match(moby: Moby, tmp_path: Path) -> None:
    with FakeRegistry() as registry:
        registry.put("x", "1", image([{"etc/a": "hello"}]))
        registry.rules.append(always(blobs, Answer(body=b"something else")))
        write(f"init: [{registry.host}/x:1]\n")
        status, said = moby("build", "a.yml")
    assert status == 1
    assert "expected sha256:" in said
    assert "got" in said
    assert left() == []
    check_store(tmp_path)


def test_a_full_disk(moby: Moby) -> None:
    write("files: [{path: etc/x, contents: hi}]\n")
    status, said = moby("build", "-f", "tar", "-o", "/dev/full", "a.yml")
    assert status == 1
    assert "No space left on device" in said


def test_a_failed_build_leaves_the_old_output(moby: Moby) -> None:
    write("files: [{path: etc/x, contents: hi}]\n")
    assert moby("build", "a.yml")[0] == 0
    before = Path("a-initrd.img").read_bytes()
    write("files: [{path: etc/x, source: gone}]\n")
    assert moby("build", "a.yml")[0] == 1
    assert Path("a-initrd.img").read_bytes() == before
    assert left() == ["a-initrd.img"]


def test_no_qemu_and_no_mirror(moby: Moby, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("a-kernel").write_bytes(b"not much of a kernel")
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setenv("MOBY_DEBIAN_MIRROR", "http://127.0.0.1:1/debian")
    status, said = moby("run", "--arch", "amd64", "a")
    assert status == 1
    assert said.count("moby: error:") == 1
    assert "fix:" in said
