"""An image is what its YAML gives, or the first file that is not is named with its input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from moby.cli.main import main
from moby.errors import ConfigError
from moby.evidence import verify
from moby.evidence.origins import Origins
from moby.evidence.verify import Verdict
from moby.oci.store import Store
from tests.support.artifacts import TEXT, made, write
from tests.support.images import image
from tests.support.roots import Root, root

WEB = "containers/services/web/lower/usr/share/page"


def machine(folder: Path, text: str = TEXT, **contents: str) -> Root:
    folder.mkdir(exist_ok=True)
    return root(folder, text, made(**contents))


def verdict(
    folder: Path, format: str, text: str = TEXT, *, was: dict[str, str] | None = None, old: str = TEXT
) -> Verdict:
    """What is said of an artifact of ``old`` when ``text`` is built now; ``was`` is what the images had then."""
    (before,) = write(machine(folder / "a", old, **(was or {})), folder / "a", [format])
    now = machine(folder / "b", text)
    (after,) = write(now, folder / "b", [format])
    asked = verify.given(next(iter(dict(before.files).values())))
    return verify.verify(asked, dict(after.files), Origins(now.plan, now.store).of)


@pytest.mark.parametrize("format", ["kernel+initrd", "tar", "uki", "raw-efi", "qcow2-efi", "iso-efi-initrd"])
def test_the_same_input_gives_the_same_bytes(tmp_path: Path, format: str) -> None:
    found = verdict(tmp_path, format)
    assert found.identical
    assert found.format == format
    assert list(found.lines()) == [f"{each.path}: identical, sha256:{each.sha256}" for each in found.files]


@pytest.mark.parametrize("format", ["kernel+initrd", "tar", "raw-efi"])
@pytest.mark.parametrize(
    ("old", "was", "path", "cause"),
    [
        (TEXT.replace("hello", "hullo"), {}, "etc/motd", "files[0] etc/motd: given in the YAML"),
        (TEXT, {"page": "old"}, WEB, "services[0] web: docker.io/library/web (sha256:"),
        (TEXT.replace("web}]", "web, command: [x]}]"), {}, "config.json", "services[0] web: docker.io/library/web"),
        (TEXT.replace("[init]", "[init, web]"), {}, "usr", ""),
        (TEXT.replace("ttyS0", "ttyS1"), {}, "cmdline", "kernel.cmdline in the YAML"),
    ],
)
def test_the_first_difference_is_named_with_its_input(
    tmp_path: Path, format: str, old: str, was: dict[str, str], path: str, cause: str
) -> None:
    found = verdict(tmp_path, format, old=old, was=was)
    assert not found.identical
    assert found.difference is not None
    assert found.difference.place[-1].endswith(path)
    assert found.cause.startswith(cause) and bool(found.cause) is bool(cause)


def test_an_image_of_another_kernel(tmp_path: Path) -> None:
    (before,) = write(machine(tmp_path / "a"), tmp_path / "a", ["kernel+initrd"])
    before.file("kernel").write_bytes(b"x")
    now = machine(tmp_path / "b")
    (after,) = write(now, tmp_path / "b", ["kernel+initrd"])
    found = verify.verify(verify.given(tmp_path / "a" / "web"), dict(after.files), Origins(now.plan, now.store).of)
    assert found.cause.startswith("kernel: docker.io/library/k (sha256:")
    assert [each.same for each in found.files] == [False, True, True]


def test_a_file_that_is_missing(tmp_path: Path) -> None:
    (before,) = write(machine(tmp_path / "a"), tmp_path / "a", ["kernel+initrd"])
    before.file("cmdline").unlink()
    now = machine(tmp_path / "b")
    (after,) = write(now, tmp_path / "b", ["kernel+initrd"])
    found = verify.verify(verify.given(tmp_path / "a" / "web"), dict(after.files), Origins(now.plan, now.store).of)
    assert str(found.difference) == "only in B: web-cmdline"


def named(folder: Path, name: str, files: Sequence[str], format: str = "") -> tuple[str, str]:
    for each in files:
        (folder / each).write_bytes(b"")
    found = verify.given(folder / name, format)
    return found.format.name, found.name


@pytest.mark.parametrize(
    ("name", "files", "expected"),
    [
        ("web", ["web-kernel", "web-initrd.img", "web-cmdline"], ("kernel+initrd", "web")),
        ("web-initrd.img", ["web-kernel", "web-initrd.img", "web-cmdline"], ("kernel+initrd", "web")),
        ("web-kernel", ["web-kernel", "web-initrd.img", "web-ipxe"], ("netboot", "web")),
        ("web-kernel", ["web-kernel"], ("kernel+initrd", "web")),
        (
            "web-squashfs.img",
            ["web-kernel", "web-initrd.img", "web-cmdline", "web-squashfs.img"],
            ("kernel+squashfs", "web"),
        ),
        ("web-efi.img", ["web-efi.img"], ("raw-efi", "web")),
        ("web-efi.iso", ["web-efi.iso"], ("iso-efi", "web")),
        ("web.iso", ["web.iso"], ("iso-bios", "web")),
        ("web-azure.vhd", ["web-azure.vhd"], ("azure", "web")),
        ("a.b.tar", ["a.b.tar"], ("tar", "a.b")),
    ],
)
def test_formats_are_told_by_names(tmp_path: Path, name: str, files: list[str], expected: tuple[str, str]) -> None:
    assert named(tmp_path, name, files) == expected


def test_what_names_do_not_tell_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="several formats have such a name: vhd, dynamic-vhd"):
        named(tmp_path, "web.vhd", ["web.vhd"])
    assert named(tmp_path, "web.vhd", [], "dynamic-vhd") == ("dynamic-vhd", "web")
    with pytest.raises(ConfigError, match="no format calls its file so"):
        named(tmp_path, "root", ["root"])
    assert named(tmp_path, "root", [], "tar") == ("tar", "root")
    with pytest.raises(ConfigError, match="no such file"):
        named(tmp_path, "none", [])
    with pytest.raises(ConfigError, match="unknown format tarr"):
        named(tmp_path, "root", [], "tarr")


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MOBY_CACHE", str(tmp_path / "store"))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    image([{"bin/a": "a"}]).save(Store(tmp_path / "store"), "docker.io/library/a")
    Path("web.yml").write_text("init: [a]\nfiles: [{path: etc/x, contents: hi}]\n")
    assert main(["build", "-q", "-f", "tar", "web.yml"]) == 0
    capsys.readouterr()
    assert main(["verify", "-q", "web.tar", "web.yml"]) == 0
    assert capsys.readouterr().out.startswith("web.tar: identical, sha256:")
    Path("web.yml").write_text("init: [a]\nfiles: [{path: etc/x, contents: ho}]\n")
    Path("kept").mkdir()
    assert main(["verify", "-q", "--json", "--keep", "kept", "web.tar", "web.yml"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["identical"], said["format"], said["cause"]) == (False, "tar", "files[0] etc/x: given in the YAML")
    assert said["difference"]["place"] == ["web.tar", "etc/x"]
    assert Path("kept/web.tar").is_file()
    assert main(["verify", "-q", "--no-sbom", "web.tar", "web.yml"]) == 1
