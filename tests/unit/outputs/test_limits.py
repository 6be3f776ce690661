"""What a format cannot do is said, before anything is written where that can be known."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from moby import log
from moby.errors import ConfigError
from moby.formats import authenticode
from moby.formats.authenticode import Signer
from moby.outputs import FORMATS, RootKind, Settings, parse_size, write
from tests.support import bootcode, circumstances
from tests.support.images import Node, image
from tests.support.roots import Root, root

ISO = [name for name, format in FORMATS.items() if not format.verity]


def refused(folder: Path, formats: Sequence[str], **settings: object) -> ConfigError:
    made = circumstances.machine(folder)
    told: Settings = replace(bootcode.settings(made.store), **settings)  # type: ignore[arg-type]  # any field
    (folder / "out").mkdir()
    with pytest.raises(ConfigError) as caught:
        write(made.plan, made.store, formats=formats, name="web", directory=folder / "out", settings=told)
    assert list((folder / "out").iterdir()) == []
    return caught.value


def test_iso_images_whose_root_stays_on_them_have_no_hash_tree() -> None:
    assert sorted(ISO) == ["iso-bios", "iso-efi", "kernel+iso"]


@pytest.mark.parametrize("name", ISO)
def test_verity_of_an_iso_image_is_refused_before_anything_is_written(name: str, tmp_path: Path) -> None:
    error = refused(tmp_path, ["kernel+squashfs", name] if name != "kernel+iso" else [name], verity=True)
    assert str(error).startswith(f"--verity: an ISO image such as {name} has no room for a hash tree (build kernel+")


@pytest.mark.parametrize("name", ["raw-efi", "raw-bios", "vhdx", "qcow2-bios", "gcp"])
def test_a_disk_too_large_for_its_file_system_is_refused(name: str, tmp_path: Path) -> None:
    error = refused(tmp_path, [name], disk_bytes=parse_size("3000G"))
    assert str(error).startswith(f"--size: a disk of 3000 GiB for {name}, whose FAT file system has 2 TiB at most")


def test_a_root_of_its_own_lets_a_disk_be_larger(tmp_path: Path) -> None:
    made = circumstances.machine(tmp_path)
    told = bootcode.settings(made.store, disk_bytes=parse_size("3000G"), root=RootKind.SQUASHFS)
    (artifact,) = write(made.plan, made.store, formats=["raw-efi"], name="web", directory=tmp_path, settings=told)
    status = artifact.file("disk").stat()
    assert status.st_size == 3000 << 30
    assert status.st_blocks * 512 < 8 << 20


@pytest.mark.parametrize("name", ["vhd", "azure", "dynamic-vhd"])
def test_a_disk_too_large_for_a_vhd_is_refused(name: str, tmp_path: Path) -> None:
    error = refused(tmp_path, [name], disk_bytes=parse_size("2045G"), root=RootKind.EROFS)
    assert "2045 GiB cannot be a VHD, whose limit is 2040 GiB (use vhdx)" in str(error)


@pytest.mark.parametrize(
    ("name", "part", "where"),
    [
        ("raw-bios", "moby.outputs.disk.bios.boot_files", "initrd.img"),
        ("raw-efi", "moby.outputs.disk.uki.program", "EFI/BOOT/BOOTX64.EFI"),
        ("iso-efi-initrd", "moby.outputs.iso.uki.program", "EFI/BOOT/BOOTX64.EFI"),
    ],
)
def test_what_is_over_4_gib_is_refused_with_a_way_out(
    name: str, part: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small, large = tmp_path / "small", tmp_path / "large"
    for path, size in ((small, 1), (large, 4 << 30)):
        with path.open("wb") as out:
            out.truncate(size)
    made = {"kernel": small, "initrd.img": large} if part.endswith("boot_files") else large
    monkeypatch.setattr(part, lambda source: made)
    error = refused(tmp_path, [name])
    assert error.where == where
    assert error.what == "a file of 4294967296 bytes cannot be in a FAT file system, whose limit is 4 GiB"
    assert error.fix == "keep the root out of it: a disk with --root squashfs, or iso-efi"


def signer() -> Signer:
    return Signer.create("test", valid_from=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))


@pytest.mark.parametrize("name", ["kernel+initrd", "raw-bios", "netboot", "tar"])
def test_a_key_that_would_sign_nothing_is_refused(name: str, tmp_path: Path) -> None:
    error = refused(tmp_path, [name], signer=signer())
    assert str(error).startswith(f"--sign-key: nothing of {name} would be signed")


def test_a_key_is_for_what_can_be_signed_of_several(tmp_path: Path) -> None:
    made = circumstances.machine(tmp_path)
    told = replace(bootcode.settings(made.store), signer=signer())
    program, *_ = write(
        made.plan, made.store, formats=["uki", "kernel+initrd"], name="web", directory=tmp_path, settings=told
    )
    with program.file("efi").open("rb") as stream:
        assert len(authenticode.signers(stream)) == 1


def with_attributes(folder: Path) -> Root:
    attribute = Node(data=b"x", pax={"SCHILY.xattr.user.a": "b"})
    return root(
        folder,
        circumstances.TEXT,
        {
            "docker.io/library/k": image([{"kernel": bootcode.KERNEL, "kernel.tar": bootcode.MODULES}]),
            "docker.io/library/init": image([{"bin/": "", "bin/init": "i", "bin/ping": attribute}]),
            "docker.io/library/web": image([{"bin/": "", "bin/web": attribute}]),
        },
    )


@pytest.mark.parametrize("name", ISO)
def test_attributes_that_an_iso_image_loses_are_said_once(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = with_attributes(tmp_path)
    with log.reporting(log.Console()):
        write(
            made.plan,
            made.store,
            formats=[name],
            name="web",
            directory=tmp_path,
            settings=bootcode.settings(made.store),
        )
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert "2 entries lose their extended attributes, 'bin/ping' is the first" in warning


def test_squashfs_keeps_them_and_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = with_attributes(tmp_path)
    with log.reporting(log.Console()):
        write(
            made.plan,
            made.store,
            formats=["kernel+squashfs"],
            name="web",
            directory=tmp_path,
            settings=bootcode.settings(made.store),
        )
    assert "warning" not in capsys.readouterr().err


def test_the_names_in_an_ipxe_script_are_those_of_urls(tmp_path: Path) -> None:
    made = circumstances.machine(tmp_path)
    (artifact,) = write(made.plan, made.store, formats=["netboot"], name="my ${web}", directory=tmp_path)
    assert artifact.file("kernel").name == "my ${web}-kernel"
    script = artifact.file("ipxe").read_text().splitlines()
    assert script[1].split()[:2] == ["kernel", "my%20%24%7Bweb%7D-kernel"]
    assert script[2].split() == ["initrd", "--name", "initrd.img", "my%20%24%7Bweb%7D-initrd.img"]
