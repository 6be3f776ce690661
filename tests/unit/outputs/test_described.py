"""``moby inspect`` and ``moby diff`` know every format."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from moby.artifact import Artifact
from moby.evidence.diff import diff
from moby.evidence.inspect import form, lines, opened
from moby.evidence.look import Looker
from moby.formats import tar
from moby.formats.entry import file
from moby.outputs import FORMATS, RootKind, write
from tests.support import bootcode, circumstances

# Documents that name other files by their hashes.
_FOLLOWS = re.compile(r"(web\.mf|index\.json|index|manifest|config): (size \d+ -> \d+, )?sha256 ")
CASES = [*((name, None) for name in FORMATS), ("raw-efi", RootKind.SQUASHFS), ("raw-bios", RootKind.EROFS)]


def build(folder: Path, name: str, root: RootKind | None, text: str = circumstances.TEXT) -> Artifact:
    folder.mkdir()
    made = circumstances.machine(folder, bootcode.architecture(FORMATS[name].architectures), text)
    settings = bootcode.settings(made.store, root=root)
    (artifact,) = write(made.plan, made.store, formats=[name], name="web", directory=folder, settings=settings)
    return artifact


def described(path: Path, *, files: bool) -> str:
    with Looker() as looker:
        return "\n".join(lines(form(opened(looker, path), looker, files=files)))


@pytest.mark.parametrize(("name", "root"), CASES)
def test_what_is_in_it_is_shown_and_what_differs_is_named(name: str, root: RootKind | None, tmp_path: Path) -> None:
    one = build(tmp_path / "a", name, root)
    told = "\n".join(described(path, files=True) for _, path in one.files)
    assert [each for each in ("Linux kernel", "console=ttyS0", "etc/motd") if each not in told] == []
    assert "damaged" not in told

    other = build(tmp_path / "b", name, root, circumstances.TEXT.replace("hello", "hullo"))
    pairs = (("a", one), ("b", other))
    a, b = (made.files[0][1] if len(made.files) == 1 else tmp_path / folder / "web" for folder, made in pairs)
    found = [str(each) for each in diff(a, b)]
    named = [each for each in found if "etc/motd: sha256 " in each]
    assert len(named) == (2 if name == "iso" else 1)  # there EFI and BIOS have an initrd each
    assert [each for each in found if each not in named and not _FOLLOWS.match(each)] == []


@pytest.mark.parametrize("index", ["[1]", '{"manifests": [7, {"digest": 1}], "config": []}', "{", '"x"', "[" * 9999])
def test_an_image_layout_that_makes_no_sense_is_an_archive(index: str, tmp_path: Path) -> None:
    for name, more in (("a", b"1"), ("b", b"2")):
        with (tmp_path / name).open("wb") as out:
            tar.write([file("oci-layout", b"{}"), file("index.json", index.encode()), file("blobs/x", more)], out)
    (only,) = diff(tmp_path / "a", tmp_path / "b")
    assert str(only).startswith("blobs/x: sha256 ")
