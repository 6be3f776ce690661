"""How a root lies in RAM, chosen by what its init and its kernel say they can."""

from __future__ import annotations

from pathlib import Path

import pytest

from moby.errors import ConfigError
from moby.formats import initrd
from moby.outputs.settings import Settings
from moby.outputs.source import Source
from moby.rootfs.pieces import Layout
from tests.support import images
from tests.support.images import image
from tests.support.initramfs import unpack
from tests.support.roots import root

TEXT = "kernel: {image: k}\ninit: [i, j]\nservices: [{name: s, image: c}]\n"
MODULES = images.tar({"lib/": "", "lib/a.ko": "module"})


def source(folder: Path, *, init: str = "", other: str = "", kernel: str = "", layout: Layout | None = None) -> Source:
    def labelled(**labels: str) -> dict[str, object]:
        return {"Labels": {f"org.mobyproject.moby.{name}": text for name, text in labels.items() if text}}

    made = root(
        folder,
        TEXT,
        {
            "docker.io/library/k": image([{"kernel": "vmlinuz", "kernel.tar": MODULES}], labelled(squashfs=kernel)),
            "docker.io/library/i": image([{"init": "i"}], labelled(root=init)),
            "docker.io/library/j": image([{"tool": "j"}], labelled(root=other)),
            "docker.io/library/c": image([{"program": "c"}]),
        },
    )
    (folder / "parts").mkdir()
    return Source(made.plan, made.store, folder / "parts", Settings(layout=layout))


@pytest.mark.parametrize(
    ("labels", "layout"),
    [
        ({"init": "tree,images", "kernel": "zstd,gzip"}, Layout.IMAGES),
        ({"init": "tree, images", "kernel": "gzip"}, Layout.IMAGES),
        ({"init": "tree,images", "other": "tree,images", "kernel": "zstd"}, Layout.IMAGES),
        ({"init": "tree,images", "other": "tree", "kernel": "zstd"}, Layout.TREE),
        ({"init": "tree", "kernel": "zstd"}, Layout.TREE),
        ({"kernel": "zstd"}, Layout.TREE),
        ({"init": "tree,images"}, Layout.TREE),
        ({}, Layout.TREE),
    ],
)
def test_images_where_init_and_kernel_take_them(tmp_path: Path, labels: dict[str, str], layout: Layout) -> None:
    assert source(tmp_path, **labels).layout is layout  # type: ignore[arg-type]  # a table has one type


def test_the_build_may_ask_for_a_tree(tmp_path: Path) -> None:
    made = source(tmp_path, init="tree,images", kernel="zstd", layout=Layout.TREE)
    assert "containers/services/s/lower/program" in unpack(made.boot.initrd)


def test_images_are_not_given_to_those_who_cannot_mount_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot mount images of containers") as caught:
        assert source(tmp_path, kernel="zstd", layout=Layout.IMAGES).layout
    assert caught.value.fix == 'use "@pkg:init" and "@pkg:kernel", or --root tree'


def test_an_initrd_of_images_is_small_in_memory_and_keeps_the_rest(tmp_path: Path) -> None:
    made = source(tmp_path, init="images", kernel="zstd")
    tree = unpack(made.boot.initrd)
    assert {"init", "tool", "lib/a.ko", "containers/services/s/lower", "containers/services/s/config.json"} <= set(tree)
    assert "containers/services/s/lower.squashfs" in tree
    assert not any(path.startswith("containers/services/s/lower/") for path in tree)
    with made.boot.initrd.open("rb") as stream:
        assert [each.codec for each in initrd.segments(stream)].count("none") == 1
    assert made.boot.root_bytes == made.root_bytes > 4096
