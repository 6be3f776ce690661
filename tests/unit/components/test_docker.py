"""Components with a Dockerfile: whichever builder is there, its archive is checked."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from moby.components import docker
from moby.components.recipe import Recipe
from moby.errors import CommandError, ConfigError, IntegrityError, PlatformError
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_MANIFEST, Platform
from moby.oci.store import Store
from tests.support.images import MadeImage, image

AMD64 = Platform(os="linux", architecture="amd64")


def load(directory: Path, more: str = "") -> Recipe:
    directory.mkdir(exist_ok=True)
    (directory / "Dockerfile").write_text("FROM scratch\n")
    (directory / "build.yml").write_text(f"image: web\nbuildArgs: [A=b]\nlabels: {{x.y: z}}\n{more}")
    return Recipe.load(directory)


def archive(made: MadeImage, path: Path, *, damage: bytes = b"") -> Path:
    """An OCI archive as builders write it."""
    blobs = {Digest.of(data): data for data in (made.config, made.manifest, *made.layers)}
    manifest = {"mediaType": OCI_MANIFEST, "digest": str(Digest.of(made.manifest)), "size": len(made.manifest)}
    files = {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}'}
    files["index.json"] = json.dumps({"schemaVersion": 2, "manifests": [manifest]}).encode()
    files |= {f"blobs/sha256/{digest.hex}": data for digest, data in blobs.items()}
    with tarfile.open(path, "w") as out:
        for name, data in files.items():
            data = data + damage if data in made.layers else data
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return path


def install(directory: Path, name: str, script: str) -> dict[str, str]:
    """A fake builder on PATH; gives the environment."""
    directory.mkdir(exist_ok=True)
    path = directory / name
    path.write_text(f"#!/bin/sh\nset -eu\necho \"$@\" >>'{directory}/asked'\n{script}")
    path.chmod(0o755)
    return {"PATH": f"{directory}:/usr/bin:/bin"}


@pytest.mark.parametrize("tool", list(docker.COMMANDS))
def test_commands(tool: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    recipe = load(tmp_path, "network: true\nconfig: {readonly: true}\n")
    lines = docker.COMMANDS[tool](recipe, AMD64, Path("/out/image.tar"))
    text = "\n".join(" \\\n    ".join(line) for line in lines) + "\n"
    golden(f"components/dockerfile-{tool}.txt", text.replace(str(tmp_path), "/recipe"))


def test_builds_without_network_unless_asked(tmp_path: Path) -> None:
    recipe = load(tmp_path)
    assert "none" in docker.buildah(recipe, AMD64, Path("x"))[0]
    assert "none" in docker.docker(recipe, AMD64, Path("x"))[0]
    assert "force-network-mode=none" in docker.buildctl(recipe, AMD64, Path("x"))[0]


def test_puts_the_image_into_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = image(layers=[{"etc/motd": "hi"}], config={"Cmd": ["/x"], "Healthcheck": {"Test": ["NONE"]}})
    saved = archive(made, tmp_path / "made.tar")
    environment = install(tmp_path / "bin", "buildah", f'[ "$1" = build ] || cp {saved} "${{3#oci-archive:}}"\n')
    monkeypatch.setenv("PATH", environment["PATH"])
    store = Store(tmp_path / "store")
    recipe = load(tmp_path / "recipe")
    built = docker.build(recipe, AMD64, store, scratch=tmp_path / "tmp", environment=environment)
    found = store.find(built.reference, AMD64)
    assert found == built
    assert str(built.reference) == recipe.reference
    assert built.digest == made.descriptor.digest
    assert not list((tmp_path / "tmp").iterdir())


def test_refuses_an_altered_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = archive(image(layers=[{"etc/motd": "hi"}]), tmp_path / "made.tar", damage=b"!")
    environment = install(tmp_path / "bin", "buildah", f'[ "$1" = build ] || cp {saved} "${{3#oci-archive:}}"\n')
    monkeypatch.setenv("PATH", environment["PATH"])
    with pytest.raises(IntegrityError):
        docker.build(
            load(tmp_path / "recipe"), AMD64, Store(tmp_path / "s"), scratch=tmp_path / "t", environment=environment
        )


def test_refuses_an_image_for_another_platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved = archive(image(layers=[{"a": "b"}], architecture="arm64"), tmp_path / "made.tar")
    environment = install(tmp_path / "bin", "buildah", f'[ "$1" = build ] || cp {saved} "${{3#oci-archive:}}"\n')
    monkeypatch.setenv("PATH", environment["PATH"])
    with pytest.raises(IntegrityError, match="no image for linux/amd64"):
        docker.build(
            load(tmp_path / "recipe"), AMD64, Store(tmp_path / "s"), scratch=tmp_path / "t", environment=environment
        )


def test_a_failing_builder_shows_what_it_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = install(tmp_path / "bin", "docker", "echo no daemon >&2; exit 1\n")
    monkeypatch.setenv("PATH", environment["PATH"])
    environment = {"PATH": str(tmp_path / "bin")}
    with pytest.raises(CommandError, match="no daemon"):
        docker.build(
            load(tmp_path / "recipe"), AMD64, Store(tmp_path / "s"), scratch=tmp_path / "t", environment=environment
        )


def test_no_builder_is_an_error_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(PlatformError) as caught:
        docker.build(
            load(tmp_path / "recipe"), AMD64, Store(tmp_path / "s"), scratch=tmp_path, environment={"PATH": "/nowhere"}
        )
    assert "buildah" in caught.value.fix


def test_keys_that_need_linuxkits_builder_are_refused(tmp_path: Path) -> None:
    recipe = load(tmp_path / "recipe", "extra-sources: ['../a:/b']\n")
    with pytest.raises(ConfigError, match="extra-sources"):
        docker.build(recipe, AMD64, Store(tmp_path / "s"), scratch=tmp_path, environment={"PATH": ""})
