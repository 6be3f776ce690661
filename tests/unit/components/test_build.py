"""From a recipe to an image in the store, with a mirror on loopback."""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from moby.artifact import Architecture
from moby.components.build import Components
from moby.components.fetch import Gone
from moby.components.recipe import Recipe
from moby.context import Context
from moby.errors import ConfigError, MobyError
from moby.formats.entry import Entry, Kind
from moby.oci import attestations, layers
from moby.oci.image import Image
from moby.oci.manifest import OCI_LAYER_ZSTD, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.debs import KEY, Deb, Served, deb, lock, mirror
from tests.support.elfs import dynamic, module
from tests.support.images import Node, symlink

AMD64 = Platform(os="linux", architecture="amd64")
ARM64 = Platform(os="linux", architecture="arm64")
LIB = "usr/lib/x86_64-linux-gnu"

LIBC = deb(
    "libc6",
    files={
        f"{LIB}/libc.so.6": dynamic(),
        f"{LIB}/ld.so": dynamic(),
        "lib64/ld-linux-x86-64.so.2": symlink("../lib/x86_64-linux-gnu/ld.so"),
        "usr/share/doc/libc6/copyright": "LGPL",
        "usr/share/doc/libc6/NEWS": "news",
    },
)
WEB = deb(
    "web",
    depends="libc6",
    files={
        "sbin/webd": Node(data=dynamic(["libc.so.6"], interpreter="/lib64/ld-linux-x86-64.so.2"), mode=0o4755, uid=3),
        "etc/web/web.conf": "conf",
        "etc/web/other.conf": "other",
    },
)
OTHER = deb("web", architecture="arm64", files={"usr/sbin/webd": "arm"})
TEXT = """\
image: web
description: a web server
packages: [web]
command: [/usr/sbin/webd]
env: [A=b]
config: {binds: ["/a:/a"], net: host}
labels: {x.y: z}
tags: ["1.x"]
"""


@dataclass
class World:
    """A mirror, a recipe with locks for both architectures, and a place for caches."""

    served: Served
    directory: Path
    tmp: Path

    def context(self, name: str = "cache") -> Context:
        keys = self.tmp / "keys.gpg"
        keys.write_bytes(KEY.keyring)
        return Context.from_environment(
            {
                **os.environ,
                "XDG_CACHE_HOME": str(self.tmp / name),
                "MOBY_DEBIAN_MIRROR": f"{self.served.url}/debian",
                "MOBY_DEBIAN_KEYRING": str(keys),
            }
        )

    def components(self, name: str = "cache", *, locked: bool = True, force: bool = False) -> Components:
        context = self.context(name)
        return Components(context, Store(context.store), locked=locked, force=force)

    def write(self, text: str, *debs: Deb, architecture: Architecture = Architecture.AMD64) -> None:
        self.directory.mkdir(exist_ok=True)
        (self.directory / "build.yml").write_text(text)
        recipe = Recipe.load(self.directory)
        request = recipe.request(architecture)
        if request is not None and debs:
            lock(*debs, request=request.digest).write(recipe.lock_path(architecture))

    def build(self, name: str = "cache", platform: Platform = AMD64) -> dict[str, Entry]:
        """The tree of the built image."""
        components = self.components(name)
        image = components.image(components.recipe(str(self.directory)), platform)
        store = Store(self.context(name).store)
        assert store.find(image.reference, platform) == image
        return {entry.path: entry for entry in layers.entries(store, image)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with mirror([LIBC, WEB, OTHER]) as served:
        made = World(served, tmp_path / "recipe", tmp_path)
        made.write(TEXT, LIBC, WEB)
        made.write(TEXT, OTHER, architecture=Architecture.ARM64)
        yield made


def files(tree: dict[str, Entry]) -> set[str]:
    return {path for path, entry in tree.items() if entry.kind is not Kind.DIRECTORY}


def test_a_closure_has_all_files_accounts_records_and_links(world: World) -> None:
    tree = world.build()
    assert files(tree) == {
        "etc/group",
        "etc/passwd",
        "etc/shadow",
        "etc/web/other.conf",
        "etc/web/web.conf",
        "lib",
        "lib64",
        "sbin",
        f"{LIB}/ld.so",
        f"{LIB}/libc.so.6",
        "usr/lib64/ld-linux-x86-64.so.2",
        "usr/sbin/webd",
        "usr/share/doc/libc6/copyright",
        "var/lib/dpkg/status.d/libc6",
        "var/lib/dpkg/status.d/web",
    }
    assert (tree["usr/sbin/webd"].mode, tree["usr/sbin/webd"].uid) == (0o4755, 3)
    assert tree["tmp"].mode == 0o1777
    assert {entry.mtime_s for entry in tree.values()} == {1492533000}


def test_slim_keeps_what_the_program_needs(world: World) -> None:
    world.write(TEXT + "slim: {programs: [usr/sbin/webd], files: [etc/web/web.conf]}\n", LIBC, WEB)
    assert files(world.build()) == {
        "etc/web/web.conf",
        "lib64/ld-linux-x86-64.so.2",
        "sbin",
        f"{LIB}/ld.so",
        f"{LIB}/libc.so.6",
        "usr/lib64/ld-linux-x86-64.so.2",
        "usr/sbin/webd",
        "var/lib/dpkg/status.d/libc6",
        "var/lib/dpkg/status.d/web",
    }


def test_files_users_and_removals_of_the_recipe(world: World) -> None:
    more = (
        "users: [{name: web, uid: 80, gid: 80}]\n"
        "files: [{path: etc/web/web.conf, contents: mine}, {path: sbin/extra, contents: x}]\n"
        'remove: ["etc/web/other*"]\n'
    )
    world.write(TEXT + more, LIBC, WEB)
    tree = world.build()
    assert tree["etc/web/web.conf"].data == b"mine"
    assert "usr/sbin/extra" in tree
    assert "etc/web/other.conf" not in tree
    assert b"web:x:80:80:" in tree["etc/passwd"].data


def image_of(world: World, name: str = "cache", platform: Platform = AMD64) -> Image:
    components = world.components(name)
    return components.image(components.recipe(str(world.directory)), platform)


def test_the_image_says_what_the_recipe_says(world: World) -> None:
    image = image_of(world)
    assert image.config.cmd == ("/usr/sbin/webd",)
    assert image.config.entrypoint is None
    assert image.config.env == ("A=b",)
    assert image.config.labels == {
        "org.mobyproject.config": '{"binds":["/a:/a"],"net":"host"}',
        "org.opencontainers.image.description": "a web server",
        "x.y": "z",
    }
    assert [layer.media_type for layer in image.layers] == [OCI_LAYER_ZSTD]


def test_both_architectures_share_a_name_and_tags(world: World) -> None:
    amd64, arm64 = image_of(world), image_of(world, platform=ARM64)
    assert amd64.reference == arm64.reference
    assert amd64.digest != arm64.digest
    store = Store(world.context().store)
    tagged = Reference.parse("localhost/moby/web:1.x")
    assert store.find(tagged, AMD64).digest == amd64.digest  # type: ignore[union-attr]
    assert store.find(tagged, ARM64).digest == arm64.digest  # type: ignore[union-attr]


def test_the_same_recipe_gives_the_same_digest_anywhere(world: World) -> None:
    first = image_of(world, "one")
    old = os.umask(0o077)
    try:
        copied = world.tmp / "elsewhere"
        copied.mkdir()
        for path in sorted(world.directory.rglob("*"), reverse=True):
            if path.is_file():
                target = copied / path.relative_to(world.directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(path.read_bytes())
        components = world.components("two")
        second = components.image(components.recipe(str(copied)), AMD64)
    finally:
        os.umask(old)
    assert (first.reference, first.digest) == (second.reference, second.digest)


def test_what_the_store_has_is_not_built_again(world: World) -> None:
    first = image_of(world)
    asked = len(world.served.asked)
    world.served.files.clear()
    assert image_of(world) == first
    assert len(world.served.asked) == asked


def test_force_builds_again_and_gives_the_same(world: World) -> None:
    first = image_of(world)
    components = world.components(force=True)
    assert components.image(components.recipe(str(world.directory)), AMD64).digest == first.digest


def test_a_reference_needs_no_build_and_resolves_to_one(world: World) -> None:
    components = world.components()
    reference = components.reference("./recipe", world.tmp)
    assert not world.served.asked
    image = components.resolve(reference, AMD64)
    assert image is not None
    assert image.reference == reference
    assert components.resolve(Reference.parse("docker.io/library/nginx"), AMD64) is None
    assert components.resolve(Reference.parse("localhost/moby/web:0"), AMD64) is None


def test_an_architecture_it_is_not_for_is_refused(world: World) -> None:
    with pytest.raises(ConfigError, match="not made for linux/riscv64") as caught:
        image_of(world, platform=Platform(os="linux", architecture="riscv64"))
    assert caught.value.fix == "it is for amd64, arm64"


def test_a_stale_lock_fails_when_locked(world: World) -> None:
    world.write(TEXT + "areas: [main, contrib]\n")
    with pytest.raises(ConfigError, match="made for other packages") as caught:
        image_of(world)
    assert caught.value.where.endswith("lock/amd64.lock")


def test_a_dropped_version_fails_when_locked(world: World) -> None:
    world.served.forget(WEB)
    with pytest.raises(Gone, match=r"web 1\.0"):
        image_of(world)


def test_a_bad_package_leaves_nothing_in_the_store(world: World) -> None:
    world.served.files[f"/debian/{WEB.path}"] = WEB.data[:-1] + b"!"
    with pytest.raises(MobyError, match="expected sha256"):
        image_of(world)
    assert Store(world.context().store).names() == ()


def test_a_kernel_component(world: World) -> None:
    version = "6.12.9+deb13-cloud-amd64"
    base = f"usr/lib/modules/{version}"
    package = deb(
        f"linux-image-{version}",
        files={f"boot/vmlinuz-{version}": "kernel", f"{base}/kernel/fs/loop.ko": module("loop")},
    )
    world.served.files[f"/debian/{package.path}"] = package.data
    world.write("image: kernel\nkernel: {modules: [loop], initrd: [gzip]}\n", package)
    assert sorted(world.build()) == ["kernel", "kernel.tar"]
    image = image_of(world)
    assert image.config.labels == {"org.mobyproject.moby.initrd": "gzip"}
    names = Store(world.context().store).names()
    assert {"localhost/moby/kernel:6.12.x", "localhost/moby/kernel:6.12.9"} <= set(names)


def test_a_compiled_component_says_by_what(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = world.tmp / "cc"
    tool.write_text('#!/bin/sh\nfor out; do :; done\necho program >"$out"\n')
    tool.chmod(0o755)
    world.directory.joinpath("a.c").write_text("")
    world.write("image: x\ncompile: [{output: init, sources: [a.c]}]\n")
    monkeypatch.setenv("MOBY_CC", str(tool))
    assert world.build()["init"].data == b"program\n"
    assert image_of(world).config.labels == {"org.mobyproject.moby.compiler": f"MOBY_CC={tool}"}


def test_an_empty_directory_can_be_a_component(world: World) -> None:
    world.write("image: x\nfiles: [{path: etc/a, contents: b}]\n")
    assert list(world.build()) == ["etc", "etc/a"]


def _build(world: World, results: multiprocessing.SimpleQueue[str]) -> None:
    results.put(str(image_of(world).digest))


def test_parallel_builds_agree_and_fetch_once(world: World) -> None:
    forking = multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue[str] = forking.SimpleQueue()
    processes = [forking.Process(target=_build, args=(world, results)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    assert len({results.get() for _ in processes}) == 1
    assert sorted(world.served.asked) == sorted(set(world.served.asked))


def test_update_writes_locks_and_says_which(world: World) -> None:
    components = world.components()
    recipe = Recipe.load(world.directory)
    assert components.update([world.directory]) == []
    newer = deb("web", version="2.0", files={"usr/sbin/webd": "2"})
    world.served.publish([newer, OTHER])
    assert world.components().update([world.directory], [Architecture.AMD64]) == [recipe.lock_path(Architecture.AMD64)]
    found = Recipe.load(world.directory).lock(Architecture.AMD64)
    assert found is not None
    assert [package.version for package in found.packages] == ["2.0"]


def test_a_dropped_version_is_resolved_anew_beside_the_recipe(world: World) -> None:
    before = {path: path.read_bytes() for path in world.directory.rglob("*") if path.is_file()}
    old = world.components(locked=False).reference(str(world.directory))
    newer = deb("web", version="2.0", files={"usr/sbin/webd": "2"})
    world.served.publish([newer, OTHER])
    components = world.components(locked=False)
    image = components.resolve(components.reference(str(world.directory)), AMD64)
    assert image is not None
    assert image.reference != old
    assert {path: path.read_bytes() for path in world.directory.rglob("*") if path.is_file()} == before
    again = world.components(locked=False)
    assert again.reference(str(world.directory)) == image.reference
    asked = len(world.served.asked)
    assert again.resolve(image.reference, AMD64) == image
    assert len(world.served.asked) == asked


def test_a_recipe_without_a_lock_is_resolved_when_built(world: World) -> None:
    for path in (world.directory / "lock").iterdir():
        path.unlink()
    with pytest.raises(ConfigError, match="does not exist"):
        image_of(world)
    components = world.components(locked=False)
    image = components.image(components.recipe(str(world.directory)), AMD64)
    store = Store(world.context().store)
    assert "usr/sbin/webd" in {entry.path for entry in layers.entries(store, image)}


def test_an_image_comes_with_an_sbom_of_its_packages(world: World) -> None:
    world.write(TEXT, LIBC, WEB)
    components = world.components()
    made = components.image(components.recipe(str(world.directory)), AMD64)
    store = Store(world.context().store)
    (statement,) = attestations.find(store, made)
    packages = json.loads(store.read_blob(statement.digest, 1 << 20))["predicate"]["packages"]
    assert [each["name"] for each in packages] == ["libc6", "web"]


def test_an_image_that_lacks_its_sbom_gets_it_when_it_is_used(world: World) -> None:
    world.write(TEXT, LIBC, WEB)
    components = world.components()
    made = components.image(components.recipe(str(world.directory)), AMD64)
    store = Store(world.context().store)
    store.change_index(str(made.reference), lambda index: index.changed(manifests=index.manifests[:1]))
    assert attestations.find(store, made) == ()
    components.image(components.recipe(str(world.directory)), AMD64)
    assert len(attestations.find(store, made)) == 1
