from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moby import outputs
from moby.artifact import Artifact
from moby.outputs.settings import BootCode, Settings
from moby.rootfs.sbom import Sbom
from tests.support.images import image
from tests.support.images import tar as made_tar
from tests.support.roots import Root, root

KERNEL = image([{"kernel": "vmlinuz", "kernel.tar": made_tar({"lib/": "", "lib/m": "m"})}])
TEXT = "kernel: {image: 'k:1', cmdline: quiet}\nfiles: [{path: a, contents: TEXT}, {path: b, source: SOURCE}]\n"


class Builds:
    """Builds of one plan into one directory; ``build`` says whether anything was written."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.source = folder / "source"
        self.source.write_text("1")
        self.settings = Settings(cache=folder / "cache")
        self.name = "x"
        self.formats = ["kernel+initrd"]
        self.text = "text"
        (folder / "out").mkdir()

    def root(self) -> Root:
        text = TEXT.replace("TEXT", self.text).replace("SOURCE", str(self.source))
        return root(self.folder, text, {"docker.io/library/k:1": KERNEL})

    def build(self) -> bool:
        before = self.states()
        self.artifacts()
        return before != self.states()

    def artifacts(self) -> tuple[Artifact, ...]:
        made = self.root()
        return outputs.write(
            made.plan,
            made.store,
            formats=self.formats,
            name=self.name,
            directory=self.folder / "out",
            settings=self.settings,
        )

    def states(self) -> dict[str, tuple[int, int]]:
        status = {path.name: path.stat() for path in (self.folder / "out").iterdir()}
        return {name: (each.st_ino, each.st_ctime_ns) for name, each in status.items()}


@pytest.fixture
def builds(tmp_path: Path) -> Builds:
    made = Builds(tmp_path)
    assert made.build()
    return made


def test_nothing_is_written_when_nothing_changed(builds: Builds) -> None:
    first = builds.artifacts()
    assert not builds.build()
    assert builds.artifacts() == first
    assert first[0].file("initrd").stat().st_size + first[0].file("kernel").stat().st_size < first[0].size_bytes


def damaged_in_place(path: Path) -> None:
    status = path.stat()
    with path.open("r+b") as stream:
        stream.write(b"!")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def put_in_its_place(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


@pytest.mark.parametrize("damage", [Path.unlink, damaged_in_place, put_in_its_place])
@pytest.mark.parametrize("role", ["kernel", "initrd.img", "cmdline"])
def test_outputs_that_somebody_changed_are_made_again(
    builds: Builds, role: str, damage: Callable[[Path], None]
) -> None:
    path = builds.folder / "out" / f"x-{role}"
    content = path.read_bytes()
    damage(path)
    assert builds.build()
    assert path.read_bytes() == content
    assert not builds.build()


@pytest.mark.parametrize(
    "change",
    [
        lambda builds: setattr(builds, "text", "other"),
        lambda builds: builds.source.write_text("2"),
        lambda builds: setattr(builds, "formats", ["kernel+initrd", "tar-kernel-initrd"]),
        lambda builds: setattr(builds, "name", "y"),
        lambda builds: setattr(builds, "settings", replace(builds.settings, disk_bytes=1 << 30)),
        lambda builds: setattr(builds, "settings", replace(builds.settings, sbom=Sbom(cache=builds.folder / "sbom"))),
    ],
)
def test_whatever_decides_them_makes_them_anew(builds: Builds, change: Callable[[Builds], None]) -> None:
    change(builds)
    assert builds.build()
    assert not builds.build()


@pytest.mark.parametrize("field", ["boot_code", "stage1", "rpi_code"])
def test_another_component_makes_them_anew(builds: Builds, field: str) -> None:
    for content in ("1", "2"):
        store = builds.root().store
        code = BootCode(store, image([{"x": content}]).save(store, "localhost/moby/x"))
        builds.settings = replace(builds.settings, **{field: code})  # type: ignore[arg-type]  # any field
        assert builds.build()
        assert not builds.build()


def test_a_damaged_record_is_no_record(builds: Builds) -> None:
    for path in (builds.folder / "cache/outputs").iterdir():
        path.write_bytes(b'{"key"')
    assert builds.build()
    assert not builds.build()


def test_without_a_cache_everything_is_written(builds: Builds) -> None:
    builds.settings = Settings()
    assert builds.build()
    assert builds.build()


def test_a_stale_file_of_another_build_is_not_taken_for_current(builds: Builds) -> None:
    builds.formats = ["tar"]
    builds.build()
    assert not builds.build()
    builds.formats = ["kernel+initrd"]
    assert not builds.build()
