from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path

import pytest

from moby.formats import squashfs
from moby.formats.compress import Codec
from moby.outputs.segments import join
from moby.rootfs.build import entries
from moby.rootfs.cache import Cache
from moby.rootfs.pieces import Layout
from moby.rootfs.sbom import Sbom
from moby.rootfs.segments import Options, segments
from tests.support import initramfs
from tests.support.images import Content, MadeImage, directory, hardlink, image, symlink
from tests.support.images import tar as made_tar
from tests.support.roots import Root, root
from tests.support.tree import Node, unpack

TEXT = """
kernel: {image: "k:1", cmdline: console=ttyS0}
init: ["i:1", "j:1"]
onboot: [{name: first, image: "c:1"}]
services: [{name: same, image: "c:1"}, {name: fixed, image: "d:1", readonly: true}]
volumes: [{name: v, image: "c:1"}, {name: blank}]
files: [{path: etc/new, contents: new}, {path: etc/twin, contents: other}, {path: deep/er/file, contents: x}]
"""
IMAGES: Mapping[str, MadeImage] = {
    "docker.io/library/k:1": image(
        [{"kernel": "vmlinuz", "kernel.tar": made_tar({"lib/": directory(), "lib/m/": directory(), "lib/m/a.ko": "a"})}]
    ),
    "docker.io/library/i:1": image(
        [{"etc/": directory(), "etc/one": "1", "etc/twin": hardlink("etc/one"), "bin": symlink("usr/bin"), "init": "i"}]
    ),
    "docker.io/library/j:1": image([{"bin/tool": "t", "usr/": directory(), "etc/one": "replaced"}]),
    "docker.io/library/c:1": image([{"bin/sh": "sh"}, {"bin/.wh.sh": "", "bin/ash": "ash", "a/link": symlink("/bin")}]),
    "docker.io/library/d:1": image([{"x": "y" * 5000, "z": hardlink("x")}], compression="zstd"),
}


def build(made: Root, folder: Path, cache: Path, **options: object) -> Path:
    """The initrd, written to ``folder``."""
    folder.mkdir()
    path = folder / "initrd"
    kept = Cache(cache)
    settings = Options(codec=Codec.ZSTD, **options)  # type: ignore[arg-type]  # a test's shorthand
    with kept.using(), path.open("wb") as out:
        join(segments(made.plan, made.store, kept, folder, settings).pieces, out)
    return path


def expected(made: Root) -> dict[str, Node]:
    """The tree of the same root when it is one stream."""
    tree = unpack(entries(made.plan, made.store))
    return {path: node for path, node in tree.items() if not path.startswith("boot/")}


def test_segments_unpack_to_the_same_tree_as_one_stream(tmp_path: Path) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    assert initramfs.unpack(build(made, tmp_path / "out", tmp_path / "cache")) == expected(made)


@pytest.mark.parametrize("sbom", [False, True])
@pytest.mark.parametrize("layout", Layout)
def test_kept_segments_give_the_same_bytes(tmp_path: Path, layout: Layout, sbom: bool) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    wanted = Sbom(cache=tmp_path / "sbom") if sbom else None
    cold = build(made, tmp_path / "cold", tmp_path / "cache", layout=layout, sbom=wanted)
    hot = build(made, tmp_path / "hot", tmp_path / "cache", layout=layout, sbom=wanted)
    other = build(made, tmp_path / "other", tmp_path / "another", layout=layout, sbom=wanted)
    assert cold.read_bytes() == hot.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("layout", Layout)
def test_a_lost_part_of_the_sbom_is_made_again_beside_kept_segments(tmp_path: Path, layout: Layout) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    whole = Sbom(cache=tmp_path / "sbom")
    cold = build(made, tmp_path / "cold", tmp_path / "cache", layout=layout, sbom=whole)
    lost = Sbom(cache=tmp_path / "another sbom")
    assert build(made, tmp_path / "hot", tmp_path / "cache", layout=layout, sbom=lost).read_bytes() == cold.read_bytes()


def test_damaged_segments_are_made_again(tmp_path: Path) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    cold = build(made, tmp_path / "cold", tmp_path / "cache").read_bytes()
    for path in (tmp_path / "cache").glob("*/archive"):
        path.write_bytes(path.read_bytes()[:-1] + b"!")
    assert build(made, tmp_path / "hot", tmp_path / "cache").read_bytes() == cold


def test_only_what_changed_is_made_anew(tmp_path: Path) -> None:
    before = root(tmp_path, TEXT, IMAGES)
    build(before, tmp_path / "cold", tmp_path / "cache")
    known = set((tmp_path / "cache").iterdir())
    changed = {**IMAGES, "docker.io/library/c:1": image([{"bin/ash": "new"}])}
    after = root(tmp_path, TEXT, changed)
    build(after, tmp_path / "hot", tmp_path / "cache")
    new = set((tmp_path / "cache").iterdir()) - known
    assert len(new) == 2, "a container's root and a volume"
    assert initramfs.unpack(tmp_path / "hot/initrd") == expected(after)


def test_an_init_image_whose_names_stay_does_not_touch_those_after_it(tmp_path: Path) -> None:
    build(root(tmp_path, TEXT, IMAGES), tmp_path / "cold", tmp_path / "cache")
    known = set((tmp_path / "cache").iterdir())
    changed = image(
        [{"etc/": directory(), "etc/one": "2", "etc/twin": hardlink("etc/one"), "bin": symlink("usr/bin"), "init": "2"}]
    )
    build(root(tmp_path, TEXT, {**IMAGES, "docker.io/library/i:1": changed}), tmp_path / "hot", tmp_path / "cache")
    assert len(set((tmp_path / "cache").iterdir()) - known) == 1


def test_a_file_over_one_of_several_names_of_an_earlier_segment_leaves_the_others(tmp_path: Path) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    tree = initramfs.unpack(build(made, tmp_path / "out", tmp_path / "cache"))
    assert tree["etc/one"] != tree["etc/twin"], "files[1] replaces one name, j:1 the other"
    assert tree == expected(made)


@pytest.mark.parametrize(
    "path",
    [
        "containers/onboot/000-first/lower/bin/ash",
        "containers/onboot/000-first/lower/a/link/new",
        "containers/services/fixed/rootfs/x",
        "way/in/bin/ash",
        "containers/services/fixed/rootfs/new/dir/file",
    ],
)
@pytest.mark.parametrize("layout", Layout)
def test_a_file_of_the_yaml_may_go_into_a_container(tmp_path: Path, path: str, layout: Layout) -> None:
    text = TEXT.replace("files: [", f"files: [{{path: {path}, contents: inside}}, ")
    ways = image([{"way": symlink("containers/onboot/000-first"), "containers/onboot/000-first/in": symlink("lower")}])
    images = {**IMAGES, "docker.io/library/j:1": ways} if path.startswith("way") else IMAGES
    made = root(tmp_path, text, images)
    tree = initramfs.unpack(build(made, tmp_path / "out", tmp_path / "cache", layout=layout))
    place = "containers/services/fixed/" if "fixed" in path else "containers/onboot/000-first/"
    assert {name: node for name, node in tree.items() if name.startswith(place)} == {
        name: node for name, node in expected(made).items() if name.startswith(place)
    }


@pytest.mark.parametrize(
    "layer",
    [
        {"containers": symlink("elsewhere"), "elsewhere/": directory()},
        {"containers/onboot/000-first/lower/there": "already"},
        {"containers/services/same": symlink("/else"), "else/": directory(0o700)},
    ],
)
def test_an_init_image_may_prepare_the_places_of_containers(tmp_path: Path, layer: Mapping[str, Content]) -> None:
    made = root(tmp_path, TEXT, {**IMAGES, "docker.io/library/j:1": image([layer])})
    for turn in ("cold", "hot"):
        assert initramfs.unpack(build(made, tmp_path / turn, tmp_path / "cache")) == expected(made)


def test_apk_databases_of_several_init_images_become_one(tmp_path: Path) -> None:
    databases = {
        f"docker.io/library/{name}:1": image([{"lib/apk/db/installed": f"P:{name}\n", f"{name}-file": name}])
        for name in "ij"
    }
    text = "init: ['i:1', 'j:1']\nfiles: [{path: lib/apk/x, contents: x}]\n"
    made = root(tmp_path, text, databases)
    for turn in ("cold", "hot"):
        assert initramfs.unpack(build(made, tmp_path / turn, tmp_path / "cache")) == expected(made)


def test_an_image_of_a_container_is_beside_its_root_and_holds_all_of_it(tmp_path: Path) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    tree = initramfs.unpack(build(made, tmp_path / "out", tmp_path / "cache", layout=Layout.IMAGES))
    whole = expected(made)
    for place in (
        "containers/onboot/000-first/lower",
        "containers/services/fixed/rootfs",
        "containers/volumes/v/lower",
    ):
        inside = {path[len(place) + 1 :]: node for path, node in whole.items() if path.startswith(f"{place}/")}
        packed = next(
            path for path in (tmp_path / "cache").glob("*/image") if tree[f"{place}.squashfs"].content == _sha256(path)
        )
        with packed.open("rb") as stream:
            assert unpack(squashfs.read(stream)) == inside
        assert tree[place].kind == "dir"
        assert not any(path.startswith(f"{place}/") for path in tree)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_builds_beside_each_other_share_a_cache(tmp_path: Path) -> None:
    made = root(tmp_path, TEXT, IMAGES)
    threads = [
        threading.Thread(target=build, args=(made, tmp_path / f"out{number}", tmp_path / "cache"))
        for number in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    results = {(tmp_path / f"out{number}/initrd").read_bytes() for number in range(4)}
    assert len(results) == 1
    assert sorted(path.name for path in (tmp_path / "cache").iterdir() if path.name.startswith("making")) == []
