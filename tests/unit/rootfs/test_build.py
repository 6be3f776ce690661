from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from moby.errors import ConfigError
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.files import entered
from tests.support import images
from tests.support.images import image
from tests.support.roots import root
from tests.support.tree import Node

BUSYBOX = image([{"bin/": "", "bin/busybox": "all", "bin/sh": images.hardlink("bin/busybox")}])
HELLO = "docker.io/library/hello"
INIT = "docker.io/library/init"


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_writable_container_has_lower_tmp_and_rootfs(tmp_path: Path) -> None:
    tree = root(tmp_path, "services: [{name: a, image: hello}]", {HELLO: BUSYBOX}).tree()
    names = {path for path in tree if path.startswith("containers/services/a/") and path.count("/") == 3}
    expected = {"config.json", "lower", "rootfs", "runtime.json", "tmp"}
    assert names == {f"containers/services/a/{name}" for name in expected}
    assert tree["containers/services/a/lower/bin/sh"].content == digest("all")
    assert not any(path.startswith("containers/services/a/rootfs/") for path in tree)


def test_a_readonly_container_is_unpacked_to_rootfs(tmp_path: Path) -> None:
    tree = root(tmp_path, "onboot: [{name: a, image: hello, readonly: true}]", {HELLO: BUSYBOX}).tree()
    assert tree["containers/onboot/000-a/rootfs/bin/sh"].content == digest("all")
    assert not tree.keys() & {"containers/onboot/000-a/lower", "containers/onboot/000-a/tmp"}


def test_containers_with_one_image_share_its_files(tmp_path: Path) -> None:
    text = """
        onboot: [{name: a, image: hello, readonly: true}]
        services: [{name: b, image: hello}, {name: c, image: hello, readonly: true}]
    """
    made = root(tmp_path, text, {HELLO: BUSYBOX})
    tree = made.tree()
    assert [path for path in tree if path.endswith("/busybox")] == ["containers/onboot/000-a/rootfs/bin/busybox"]
    assert {"containers/services/b/tmp", "containers/services/b/rootfs", "containers/services/c/rootfs"} <= set(tree)
    runtime = {entry.path: entry.data for entry in made.held()}["containers/services/b/runtime.json"]
    assert b"lowerdir=/containers/onboot/000-a/rootfs" in bytes(runtime)  # type: ignore[arg-type]  # held


def test_every_entry_says_where_it_came_from(tmp_path: Path) -> None:
    text = """
        init: [init]
        onboot: [{name: a, image: hello}]
        services: [{name: b, image: hello}]
        volumes: [{name: v, image: hello}]
        files: [{path: etc/x, contents: x}]
    """
    made = root(tmp_path, text, {HELLO: BUSYBOX, INIT: image([{"init": "1"}])})
    assert {entry.origin for entry in made.held()} == {"init[0]", "volumes[0]", "onboot[0]", "services[0]", "files[0]"}


def test_init_images_are_laid_over_each_other(tmp_path: Path) -> None:
    first = image([{"usr/": "", "usr/bin/": "", "bin": images.symlink("usr/bin"), "usr/bin/a": "1", "b": "1"}])
    second = image([{"bin/": "", "bin/a": "2", "bin/runc": "r", "bin/link": images.hardlink("bin/runc")}])
    tree = root(tmp_path, "init: [init, runc]", {INIT: first, "docker.io/library/runc": second}).tree()
    assert tree["bin"].kind == "symlink"
    assert tree["usr/bin/a"].content == digest("2")
    assert tree["usr/bin/link"] == tree["usr/bin/runc"]


def test_apk_databases_of_several_init_images_are_joined(tmp_path: Path) -> None:
    layers = [{"lib/": "", "lib/apk/": "", "lib/apk/db/": "", "lib/apk/db/installed": f"P:{name}\n"} for name in "ab"]
    both = {INIT: image(layers[:1]), "docker.io/library/b": image(layers[1:])}
    tree = root(tmp_path, "init: [init, b]", both).tree()
    assert tree["lib/apk/db/installed"] == Node("file", 0o644, 0, 0, 0, digest("P:a\n\n\nP:b\n\n\n"))
    alone = root(tmp_path / "alone", "init: [init]", {INIT: both[INIT]}).tree()
    assert alone["lib/apk/db/installed"].content == digest("P:a\n")


@pytest.mark.parametrize("readonly", ["", ", readonly: true"])
def test_a_volume_has_lower_tmp_and_merged(tmp_path: Path, readonly: str) -> None:
    text = f"volumes: [{{name: v, image: hello{readonly}}}, {{name: blank}}]"
    tree = root(tmp_path, text, {HELLO: BUSYBOX}).tree()
    folder = Node("dir", 0o755, 0, 0, FIXED_MTIME_S)
    for name in ("v", "blank"):
        assert {tree[f"containers/volumes/{name}{part}"] for part in ("", "/lower", "/tmp", "/merged")} == {folder}
    assert tree["containers/volumes/v/lower/bin/sh"].content == digest("all")
    assert tree["containers/volumes/v/lower/etc/resolv.conf"].kind == "symlink"
    assert not any(path.startswith("containers/volumes/blank/lower/") for path in tree)


def test_an_oci_volume_holds_an_image_layout(tmp_path: Path) -> None:
    text = "volumes: [{name: v, image: hello, format: oci}]"
    made = root(tmp_path, text, {HELLO: BUSYBOX})
    other = image([{"arm": "1"}], architecture="arm64")
    other.save(made.store, HELLO)
    folder = tmp_path / "layout"
    for entry in made.held():
        if "/lower/" in entry.path and isinstance(entry.data, bytes) and entry.size:
            path = folder / entry.path.split("/lower/")[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(entry.data)
    assert (folder / "oci-layout").read_bytes() == b'{\n\t\t"imageLayoutVersion": "1.0.0"\n\t}'
    for blob in (folder / "blobs/sha256").iterdir():
        assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    copy = type(made.store)(folder)
    assert copy.names() == (HELLO,)
    reference = made.plan.volumes[0].reference
    assert reference is not None
    assert copy.find(reference, BUSYBOX.platform) is not None
    assert copy.find(reference, other.platform) is not None


def test_an_oci_volume_may_name_its_platforms(tmp_path: Path) -> None:
    text = "volumes: [{name: v, image: hello, format: oci, platforms: [linux/amd64]}]"
    made = root(tmp_path, text, {HELLO: BUSYBOX})
    image([{"arm": "1"}], architecture="arm64").save(made.store, HELLO)
    blobs = [path for path in made.tree() if "/blobs/sha256/" in path]
    assert len(blobs) == 4  # config, layer, manifest, index


def test_implied_directories_get_the_files_mode_and_owner(tmp_path: Path) -> None:
    tree = root(tmp_path, "files: [{path: a/b/c, contents: x, mode: '0640', uid: 3, gid: 4}]").tree()
    assert tree["a"] == tree["a/b"] == Node("dir", 0o750, 3, 4, FIXED_MTIME_S)
    assert tree["a/b/c"] == Node("file", 0o640, 3, 4, FIXED_MTIME_S, digest("x"))


def test_directories_of_an_image_keep_mode_and_owner(tmp_path: Path) -> None:
    made = image([{"srv/": images.directory(0o751, uid=9), "l": images.symlink("srv")}])
    text = "{init: [init], files: [{path: srv/x, contents: x}, {path: l/y, contents: y}, {path: etc/z, contents: z}]}"
    tree = root(tmp_path, text, {INIT: made}).tree()
    assert tree["srv"] == Node("dir", 0o751, 9, 0, images.MTIME_S)
    assert tree["etc"].mode == 0o755
    assert tree["l"].kind == "symlink"
    assert tree["srv/y"].content == digest("y")


def test_a_named_directory_gets_what_the_yaml_says(tmp_path: Path) -> None:
    text = "{init: [init], files: [{path: etc, directory: true, mode: '0711'}]}"
    tree = root(tmp_path, text, {INIT: image([{"etc/": ""}])}).tree()
    assert tree["etc"] == Node("dir", 0o711, 0, 0, FIXED_MTIME_S)


def test_a_source_is_copied_without_its_mode(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"data" * 500_000)
    source.chmod(0o755)
    tree = root(tmp_path, f"files: [{{path: x, source: '{source}'}}]").tree()
    assert tree["x"] == Node("file", 0o600, 0, 0, FIXED_MTIME_S, digest("data" * 500_000))


def test_a_source_that_is_gone_or_no_file_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"")
    made = root(tmp_path, f"files: [{{path: x, source: '{source}'}}]")
    source.unlink()
    with pytest.raises(ConfigError, match=r"cannot read .*source: No such file") as caught:
        made.tree()
    assert caught.value.where == "files[0].source"
    os.mkfifo(source)
    assert stat.S_ISFIFO(source.stat().st_mode)
    with pytest.raises(ConfigError, match="not a regular file"):
        made.tree()


def test_a_file_may_go_into_a_container_and_does_not_leave_it(tmp_path: Path) -> None:
    text = """
        init: [init]
        services: [{name: a, image: hello}]
        files: [{path: containers/services/a/lower/l/x, contents: x}]
    """
    hostile = image([{"l": images.symlink("/etc")}])
    tree = root(tmp_path, text, {INIT: image([{"etc/": ""}]), HELLO: hostile}).tree()
    assert "containers/services/a/lower/etc/x" in tree
    assert "etc/x" not in tree


@pytest.mark.parametrize(
    ("mode", "expected"), [(0o600, 0o700), (0o644, 0o755), (0o640, 0o750), (0o444, 0o555), (0o4755, 0o4755), (0, 0)]
)
def test_implied_modes_let_everybody_in_who_may_use_the_file(mode: int, expected: int) -> None:
    assert entered(mode) == expected


def test_two_builds_give_the_same_entries(tmp_path: Path) -> None:
    text = "{init: [init], services: [{name: a, image: hello}], files: [{path: a, contents: x}]}"
    made = [root(tmp_path / name, text, {HELLO: BUSYBOX, INIT: BUSYBOX}).held() for name in "ab"]
    assert made[0] == made[1]
    assert replace(made[0][0], mode=0) != made[1][0]
