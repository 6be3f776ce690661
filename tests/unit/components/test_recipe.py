"""Recipes: strict documents with places, and names that follow their content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moby.artifact import Architecture
from moby.components import catalog
from moby.components.lock import Lock
from moby.components.recipe import Extent, Recipe, lock_name
from moby.errors import ConfigError
from tests.support.debs import deb, lock

AMD64, ARM64 = Architecture.AMD64, Architecture.ARM64


def write(directory: Path, text: str, **files: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "build.yml").write_text(text)
    for name, content in files.items():
        (directory / name).write_text(content)
    return directory


def load(directory: Path, text: str, **files: str) -> Recipe:
    return Recipe.load(write(directory, text, **files))


def test_unknown_key_is_refused_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "image: web\npackages: [nginx]\nslim:\n  program: [usr/sbin/nginx]\n")
    assert caught.value.where.startswith(f"{tmp_path}/build.yml:4:3")
    assert "did you mean 'programs'" in caught.value.fix


def test_all_faults_are_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, "image: Web\npackages: ['ng inx']\nusers: [{name: a, uid: -1, gid: 0}]\n")
    assert len(caught.value.others) == 2


@pytest.mark.parametrize(
    "text",
    [
        "image: a\nfiles: [{path: ../x, contents: a}]",
        "image: a\nfiles: [{path: x, contents: a, symlink: b}]",
        "image: a\nfiles: [{path: x}]",
        "image: a\nfiles: [{path: x, contents: a, mode: rwx}]",
        "image: a\nkernel: {}\npackages: [b]",
        "image: a\ncompile: [{output: x, sources: []}]",
        "image: a\ndockerfile: nothing-here",
        "packages: [a]",
        "- a",
    ],
)
def test_refuses(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(tmp_path, text)


def test_accepts_what_linuxkit_packages_say(tmp_path: Path) -> None:
    text = (
        "image: sysctl\norg: linuxkit\ntag: '{{.Hash}}'\narches: [amd64, arm64, riscv64]\nnetwork: true\n"
        "disable-cache: true\nextra-sources: ['../a:/b']\nbuildArgs: ['A=b']\ngitrepo: https://example.org/x\n"
        "config:\n  binds: [/etc/sysctl.d:/etc/sysctl.d]\n  capabilities.add: [CAP_SYS_ADMIN]\n"
    )
    recipe = load(tmp_path, text, Dockerfile="FROM scratch\n")
    assert recipe.by_dockerfile
    assert recipe.config_label == '{"binds":["/etc/sysctl.d:/etc/sysctl.d"],"capabilities.add":["CAP_SYS_ADMIN"]}'


def test_hash_follows_content_and_not_the_place(tmp_path: Path) -> None:
    first = load(tmp_path / "a", "image: x\nfiles: [{path: f, source: f}]\n", f="1")
    second = load(tmp_path / "b", "image: x\nfiles: [{path: f, source: f}]\n", f="1")
    assert first.reference == second.reference == f"localhost/moby/x:{first.hash}"
    changed = load(tmp_path / "b", "image: x\nfiles: [{path: f, source: f}]\n", f="2")
    assert changed.hash != first.hash


def test_hash_ignores_prose_and_what_editors_leave(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: x\n")
    before = recipe.hash
    for name in ("README.md", "f~", ".f.swp", "#f#", ".DS_Store", "a.orig"):
        (tmp_path / name).write_text("junk")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "check.sh").write_text("x")
    assert Recipe.load(tmp_path).hash == before
    (tmp_path / "more.c").write_text("x")
    assert Recipe.load(tmp_path).hash != before


def test_hash_follows_the_execute_bit_and_no_other(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: x\n", run="#!/bin/sh\n")
    (tmp_path / "run").chmod(0o600)
    before = Recipe.load(tmp_path).hash
    assert before == recipe.hash
    (tmp_path / "run").chmod(0o755)
    assert Recipe.load(tmp_path).hash != before


def test_hash_follows_rows_of_all_locks_but_not_their_headers(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: x\npackages: [a]\n")
    without = recipe.hash
    made = lock(deb("a"), request="r")
    made.write(recipe.lock_path(ARM64))
    first = Recipe.load(tmp_path).hash
    assert first != without
    recipe.lock_path(ARM64).write_text(replace(made, resolved="20300101T000000Z").text)
    assert Recipe.load(tmp_path).hash == first


def test_an_override_takes_the_place_of_a_lock(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: x\npackages: [a]\n")
    request = recipe.request(AMD64)
    assert request is not None
    fresh = lock(deb("a", version="2"), request=request.digest)
    other = replace(recipe, overrides={lock_name(AMD64): fresh})
    assert other.lock(AMD64) == fresh
    assert other.hash != recipe.hash
    assert other.base_hash == recipe.base_hash


def test_compiler_is_part_of_the_hash(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: x\n")
    assert replace(recipe, compiler="cc:1").hash != replace(recipe, compiler="cc:2").hash


def test_a_lock_for_other_packages_is_stale(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: x\npackages: [a]\n")
    request = recipe.request(AMD64)
    assert request is not None
    lock(deb("a"), request=request.digest).write(recipe.lock_path(AMD64))
    assert recipe.lock(AMD64) is not None
    assert load(tmp_path, "image: x\npackages: [a, b]\n").lock(AMD64) is None
    assert load(tmp_path, "image: x\npackages: [a]\nsuite: bookworm\n").lock(AMD64) is None


def test_a_recipe_without_packages_needs_no_lock(tmp_path: Path) -> None:
    assert load(tmp_path, "image: x\n").lock(AMD64) == Lock(request="", packages=())


def test_packages_are_chosen_and_filled_in_by_architecture(tmp_path: Path) -> None:
    recipe = load(tmp_path, 'image: x\npackages: [a, "b [amd64]", "c [arm64 riscv64]", "d-{arch}"]\nclosure: false\n')
    assert recipe.request(AMD64).packages == ("a", "b", "d-amd64")  # type: ignore[union-attr]
    assert recipe.request(ARM64).packages == ("a", "c", "d-arm64")  # type: ignore[union-attr]
    assert recipe.request(ARM64).extent is Extent.NAMED  # type: ignore[union-attr]


def test_a_tool_has_a_lock_for_each_target_and_its_foreign_packages(tmp_path: Path) -> None:
    recipe = load(tmp_path, "image: cc\npackages: [gcc]\ntargets: {amd64: ['libc:amd64'], arm64: ['libc:arm64']}\n")
    assert recipe.targets == (AMD64, ARM64)
    request = recipe.request(AMD64, ARM64)
    assert request is not None
    assert request.packages == ("gcc", "libc:arm64")
    assert request.foreign == ("arm64",)
    assert recipe.lock_path(AMD64, ARM64).name == "amd64-arm64.lock"


def test_a_kernel_asks_for_its_package_and_keeps_only_the_image(tmp_path: Path) -> None:
    request = load(tmp_path, "image: kernel\nkernel: {modules: [loop]}\n").request(ARM64)
    assert request is not None
    assert (request.packages, request.extent) == (("linux-image-cloud-arm64",), Extent.KERNEL)


@pytest.mark.parametrize("name", ["../secret", "missing", "/etc/passwd"])
def test_sources_stay_in_the_directory(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret").write_text("x")
    with pytest.raises(ConfigError):
        load(tmp_path / "recipe", "image: x\n").file(name)


def test_a_link_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("x")
    recipe = load(tmp_path / "recipe", "image: x\n")
    (tmp_path / "recipe" / "link").symlink_to("../secret")
    with pytest.raises(ConfigError, match="outside"):
        recipe.file("link")
    with pytest.raises(ConfigError, match="outside"):
        Recipe.load(tmp_path / "recipe").hash  # noqa: B018


@pytest.mark.parametrize("name", catalog.names())
def test_shipped_recipe_is_valid_and_locked(name: str) -> None:
    recipe = Recipe.load(catalog.directory(name))
    for architecture in recipe.architectures:
        for target in recipe.targets:
            assert recipe.lock(architecture, target) is not None, f"moby pkg update {recipe.directory}"
