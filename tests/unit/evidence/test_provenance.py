"""The statement says what was asked for and the digest of all that went in, and is the same for the same build."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import moby
from moby import proc
from moby.cli.main import main
from moby.components.attest import document
from moby.components.build import Components
from moby.components.lock import Package
from moby.context import Context
from moby.errors import ConfigError
from moby.oci import attestations
from moby.oci.store import Store
from tests.support import bootcode
from tests.support.images import image

TEXT = b"""
init: [a]
services: [{name: s, image: a}, {name: t, image: b}]
files: [{path: etc/x, contents: hi}, {path: etc/y, source: given}]
"""
DEB = Package(
    package="libc6",
    architecture="amd64",
    version="2.41-12+deb13u1",
    suite="trixie",
    archive="debian",
    size_bytes=1,
    sha256="ab" * 32,
    path="pool/main/g/glibc/libc6.deb",
)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.chdir(tmp_path)
    made = Context.from_environment({"HOME": str(tmp_path)})
    store = Store(made.store)
    one = image([{"bin/a": "a"}]).save(store, "docker.io/library/a")
    attestations.attach(store, one, [document("a", [DEB])])
    image([{"bin/b": "b"}]).save(store, "docker.io/library/b")
    (tmp_path / "web.yml").write_bytes(TEXT)
    (tmp_path / "given").write_text("given")
    yield made


def statement(context: Context, **settings: Any) -> dict[str, Any]:
    options = moby.BuildOptions(architecture="amd64", provenance=True, **settings.pop("options", {}))
    moby.build("web.yml", options=options, context=context, **settings)
    decoded: dict[str, Any] = json.loads(Path("web.provenance.json").read_text())
    return decoded


def dependencies(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    listed = found["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {each.get("name", each.get("uri")): each for each in listed}


def sha256(data: bytes) -> dict[str, str]:
    return {"sha256": hashlib.sha256(data).hexdigest()}


def test_subjects_are_the_files_with_their_hashes(context: Context) -> None:
    found = statement(context)
    assert found["_type"] == "https://in-toto.io/Statement/v1"
    assert found["predicateType"] == "https://slsa.dev/provenance/v1"
    assert found["subject"] == [{"name": "web-initrd.img", "digest": sha256(Path("web-initrd.img").read_bytes())}]


def test_everything_that_went_in_is_listed(context: Context) -> None:
    found = dependencies(statement(context))
    assert found["web.yml"]["digest"] == sha256(TEXT)
    assert found["files[1]"] == {"name": "files[1]", "digest": sha256(b"given"), "annotations": {"path": "etc/y"}}
    one = found["docker.io/library/a"]
    assert one["annotations"] == {"platform": "linux/amd64", "used": "init[0], services[0]"}
    assert one["uri"].startswith(f"pkg:oci/a@sha256:{one['digest']['sha256']}?")
    assert found["docker.io/library/b"]["annotations"]["used"] == "services[1]"
    locked = found["pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64&distro=trixie"]
    assert locked["digest"] == {"sha256": "ab" * 32}
    assert len(found) == 5


def test_the_firmware_of_a_pi_is_listed(context: Context) -> None:
    store = Store(context.store)
    kernel = image([{"kernel": bootcode.KERNEL, "kernel.tar": bootcode.MODULES}], architecture="arm64")
    kernel.save(store, "docker.io/library/k")
    firmware = image([dict.fromkeys(bootcode.RPI, b"firmware")], architecture="arm64")
    name = str(Components(context, store).reference("boot-rpi"))
    firmware.save(store, name)
    Path("pi.yml").write_text("kernel: {image: k}")
    options = moby.BuildOptions(architecture="arm64", provenance=True)
    moby.build("pi.yml", formats=["rpi3"], options=options, context=context)
    listed = dependencies(json.loads(Path("pi.provenance.json").read_text()))
    assert listed[name]["annotations"] == {"platform": "linux/arm64", "used": "boot-rpi"}


def test_parameters_are_what_was_asked_for(context: Context) -> None:
    found = statement(context, options={"sbom": ""}, formats=["tar"])
    parameters = found["predicate"]["buildDefinition"]["externalParameters"]
    asked = {"sources": ["web.yml"], "formats": ["tar"], "architecture": "amd64", "name": "web", "sbom": ""}
    assert asked.items() <= parameters.items()
    assert parameters["signed"] is False
    assert found["predicate"]["runDetails"]["builder"]["version"]["moby"] == moby.__version__


def test_the_same_build_gives_the_same_statement_anywhere(context: Context, tmp_path: Path) -> None:
    statement(context)
    first = Path("web.provenance.json").read_bytes()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "web.yml").write_bytes(TEXT)
    options = moby.BuildOptions(architecture="amd64", provenance=True)
    moby.build(tmp_path / "sub" / "web.yml", directory=Path("sub"), options=options, context=context)
    assert Path("sub/web.provenance.json").read_bytes() == first


def test_times_only_when_asked_for(context: Context) -> None:
    assert "metadata" not in statement(context)["predicate"]["runDetails"]
    dated = replace(context, environment={**context.environment, "SOURCE_DATE_EPOCH": "1700000000"})
    assert statement(dated)["predicate"]["runDetails"]["metadata"] == {"finishedOn": "2023-11-14T22:13:20Z"}
    now = statement(context, options={"sbom_current_time": True})["predicate"]["runDetails"]["metadata"]
    assert now["finishedOn"] > "2024"


def test_standard_input_is_a_source_too(context: Context) -> None:
    options = moby.BuildOptions(architecture="amd64", provenance=True)
    moby.build("-", name="web", stdin=io.BytesIO(TEXT), options=options, context=context)
    found = json.loads(Path("web.provenance.json").read_text())
    assert dependencies(found)["stdin"]["digest"] == sha256(TEXT)


def test_it_stands_beside_the_one_output(context: Context) -> None:
    options = moby.BuildOptions(architecture="amd64", provenance=True)
    moby.build("web.yml", formats=["tar"], output="out.tar", options=options, context=context)
    assert json.loads(Path("out.tar.provenance.json").read_text())["subject"][0]["name"] == "out.tar"
    with pytest.raises(ConfigError, match="nothing to put it beside"):
        moby.build("web.yml", formats=["tar"], output="-", stdout=io.BytesIO(), options=options, context=context)


def test_the_command_prints_its_path(
    context: Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MOBY_CACHE", str(context.store))
    monkeypatch.setenv("HOME", context.environment["HOME"])
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert main(["build", "-q", "--provenance", "-f", "tar", "web.yml"]) == 0
    assert capsys.readouterr().out == "web.tar\nweb.provenance.json\n"
    assert main(["build", "-q", "--provenance", "--json", "-f", "tar", "web.yml"]) == 0
    assert json.loads(capsys.readouterr().out)["provenance"] == "web.provenance.json"


_CHECK = """
import json, sys
from google.protobuf.json_format import ParseDict
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.v1 import statement_pb2
from in_toto_attestation.v1.statement import Statement
given = json.load(open(sys.argv[1]))
Statement.copy_from_pb(ParseDict(given, statement_pb2.Statement())).validate()
ParseDict(given["predicate"], provenance_pb2.Provenance())
"""


@pytest.mark.shows("The provenance of a build is an in-toto statement of SLSA 1.0", by="peer")
def test_the_attestation_library_accepts_it(context: Context) -> None:
    statement(context)
    proc.run(["in-toto-python", "-c", _CHECK, "web.provenance.json"])
