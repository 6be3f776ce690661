"""The public Python interface."""

from __future__ import annotations

import datetime
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

import moby
from moby.artifact import Architecture, Artifact, Firmware
from moby.context import Context
from moby.errors import ConfigError
from moby.formats.authenticode import Signer
from moby.machines.start import bootable

# A build that gets as far as pulling fails otherwise.
NEVER_PULLED = "init: [127.0.0.1:1/never-pulled]"


def artifact(firmware: Firmware) -> Artifact:
    return Artifact(
        name="x", format=firmware.value, architecture=Architecture.AMD64, firmware=firmware, files=(), size_bytes=0
    )


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context.from_environment({"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("name", "meant"), [("amd64", "amd64"), ("x86_64", "amd64"), ("aarch64", "arm64"), ("riscv64", "riscv64")]
)
def test_architectures_in_either_spelling(name: str, meant: str) -> None:
    assert moby.architecture(name).value == meant


def test_the_public_names_are_there() -> None:
    assert {name: getattr(moby, name).__name__ for name in moby.__all__ if name != "__version__"} == {
        name: name for name in moby.__all__ if name != "__version__"
    }


def test_an_unknown_architecture_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean"):
        moby.architecture("amd46")


def test_builds_a_stream(context: Context) -> None:
    out = io.BytesIO()
    text = io.BytesIO(b"files: [{path: etc/x, contents: hi, mode: '0644'}]\n")
    moby.build("-", formats=["tar"], output="-", stdin=text, stdout=out, context=context)
    with tarfile.open(fileobj=io.BytesIO(out.getvalue())) as archive:
        assert archive.getnames() == ["etc", "etc/x", "sbom.spdx.json"]


def test_builds_beside_and_describes_what_it_made(tmp_path: Path, context: Context) -> None:
    (tmp_path / "a.yml").write_text("files: [{path: etc/x, contents: hi}]\n")
    (made,) = moby.build(tmp_path / "a.yml", directory=tmp_path, context=context)
    assert made.format == "kernel+initrd"
    assert made.file("initrd") == tmp_path / "a-initrd.img"
    assert made.size_bytes == made.file("initrd").stat().st_size


def test_the_first_artifact_that_boots_is_booted() -> None:
    tar, direct = artifact(Firmware.NONE), artifact(Firmware.DIRECT)
    assert bootable((tar, direct)) is direct
    with pytest.raises(ConfigError, match="none of these formats boots"):
        bootable((tar,))


def test_unknown_names_of_the_package_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'biuld'"):
        moby.biuld  # type: ignore[attr-defined]  # noqa: B018 - the access is the test


@pytest.mark.parametrize(
    ("text", "formats", "options", "said"),
    [
        ("verity: true", [], {}, "the root of kernel\\+initrd is not on a disk"),
        ("", [], {"verity": True}, "the root of kernel\\+initrd is not on a disk"),
        ("", [], {"root": "squashfs"}, "kernel\\+initrd has no disk for a root"),
        ("", [], {"size": "much"}, "unable to parse disk size"),
        ("", [], {"sign_key": Path("k")}, "a signature needs a key and its certificate"),
        ("", ["kernel+iso"], {"verity": True}, "kernel\\+iso has no room for a hash tree"),
        ("verity: true", ["kernel+squashfs", "iso-efi"], {}, "iso-efi has no room for a hash tree"),
        ("", ["raw-bios"], {"size": "3000G"}, "a disk of 3000 GiB for raw-bios, whose FAT file system has 2 TiB"),
    ],
)
def test_options_that_do_not_fit_are_refused_first(
    text: str, formats: list[str], options: dict[str, Any], said: str, tmp_path: Path, context: Context
) -> None:
    (tmp_path / "a.yml").write_text(f"{NEVER_PULLED}\n{text}\n")
    told = moby.BuildOptions(**options)
    with pytest.raises(ConfigError, match=said):
        moby.build(tmp_path / "a.yml", formats=formats, directory=tmp_path, options=told, context=context)


def test_a_key_that_would_sign_nothing_is_refused_first(tmp_path: Path, context: Context) -> None:
    signer = Signer.create("test", valid_from=datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
    key, certificate = tmp_path / "db.key", tmp_path / "db.crt"
    key.write_bytes(signer.key_pem)
    certificate.write_bytes(signer.certificate_pem)
    (tmp_path / "a.yml").write_text(NEVER_PULLED)
    told = moby.BuildOptions(sign_key=key, sign_certificate=certificate)
    with pytest.raises(ConfigError, match="nothing of kernel\\+initrd would be signed"):
        moby.build(tmp_path / "a.yml", directory=tmp_path, options=told, context=context)
