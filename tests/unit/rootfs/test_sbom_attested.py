"""The SBOM takes what documents attested to its images say; tools that are not ours read what comes out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moby import proc
from moby.context import Context
from moby.errors import IntegrityError
from moby.oci import attestations
from moby.rootfs.sbom.attested import Attested
from tests.support.roots import Root
from tests.support.sboms import TEXT, Document, machine, made
from tests.support.tools import python_program

SUM = {"algorithm": "SHA1", "checksumValue": "1" * 40}
ATTESTED = {
    "spdxVersion": "SPDX-2.3",
    "SPDXID": "SPDXRef-DOCUMENT",
    "relationships": [
        {"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-P"},
        {"spdxElementId": "SPDXRef-P", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-F"},
        {"spdxElementId": "SPDXRef-P", "relationshipType": "CONTAINS", "relatedSpdxElement": "SPDXRef-Nothing"},
        {"spdxElementId": "SPDXRef-P", "relationshipType": "DEPENDS_ON", "relatedSpdxElement": "NOASSERTION"},
        "hostile",
    ],
    "packages": [
        {
            "SPDXID": "SPDXRef-P",
            "name": "inner",
            "downloadLocation": "NONE",
            "licenseDeclared": "LicenseRef-own AND MIT",
            "hasFiles": ["SPDXRef-F", 7],
        },
        {"SPDXID": "SPDXRef-Q", "name": "placed", "downloadLocation": "NONE", "packageFileName": "/usr/../../lib/q"},
        {"SPDXID": "not an id", "name": "hostile"},
        [],
    ],
    "files": [
        {
            "SPDXID": "SPDXRef-F",
            "fileName": "/bin/w",
            "checksums": [
                {"algorithm": "SHA256", "checksumValue": "0" * 64},
                SUM,
            ],
        },
        {"SPDXID": "SPDXRef-G", "fileName": "without-sum"},
    ],
    "hasExtractedLicensingInfos": [{"licenseId": "LicenseRef-own", "extractedText": "do as you like"}],
    "externalDocumentRefs": [
        {"externalDocumentId": "DocumentRef-d", "spdxDocument": "https://example.org/d", "checksum": SUM},
        {"externalDocumentId": "DocumentRef-broken"},
    ],
}


def attested(folder: Path, text: str = TEXT, document: object = ATTESTED) -> Root:
    built = machine(folder, text)
    for container in built.plan.containers[:1]:
        attestations.attach(built.store, container.image, [json.dumps(document).encode()])
    return built


def test_attested_documents_are_merged(tmp_path: Path) -> None:
    built = made(attested(tmp_path), tmp_path)
    assert built.contained("docker.io/library/web") == ["inner"]
    place = "containers/onboot/000-once/lower"
    assert built.package("inner")["packageFileName"] == place
    assert built.package("placed")["packageFileName"] == f"{place}/lib/q"
    assert sorted(set(built.owners()[f"{place}/bin/w"])) == ["docker.io/library/web", "inner"]
    assert len(built.owners()[f"{place}/bin/x"]) == 1
    (licence,) = built.elements("hasExtractedLicensingInfos")
    assert built.package("inner")["licenseDeclared"] == f"{licence['licenseId']} AND MIT"
    assert licence["licenseId"].startswith("LicenseRef-")


def test_two_images_with_one_document_do_not_clash(tmp_path: Path) -> None:
    built = machine(tmp_path)
    one = {**ATTESTED, "relationships": [], "documentDescribes": ["SPDXRef-Q", "SPDXRef-X", 3]}
    texts = [json.dumps({**one, "name": name}).encode() for name in ("a", "b")]
    for each in (built.plan.containers[0].image, built.plan.init[1].image):
        attestations.attach(built.store, each, texts)
    document = made(built, tmp_path)
    assert document.contained("docker.io/library/web") == ["placed", "placed"]
    assert document.contained("docker.io/library/more") == ["placed", "placed"]


def test_a_new_document_is_taken_although_the_image_is_known(tmp_path: Path) -> None:
    plain = made(machine(tmp_path), tmp_path)
    assert made(attested(tmp_path), tmp_path) != plain


def test_relationships_of_replaced_files_go_with_them(tmp_path: Path) -> None:
    text = TEXT.replace("lower/etc/w", "lower/bin/w")
    document = made(attested(tmp_path, text), tmp_path)
    assert document.owners()["containers/onboot/000-once/lower/bin/w"] == ["configuration"]


@pytest.mark.parametrize("text", ["{", '{"predicate": 1}', '{"predicate": {"packages": [}}', "\0"])
def test_a_broken_statement_is_refused_with_its_place(text: str) -> None:
    document = Attested(text, owner="SPDXRef-o", number=0, prefix="p", where="sha256:0")
    with pytest.raises(IntegrityError) as caught:
        document.write(lambda _, __: None)
    assert caught.value.where == "sha256:0"
    assert "--no-sbom" in caught.value.fix


_LOOSE = st.recursive(
    st.none() | st.integers() | st.sampled_from(["SPDXRef-a", "SPDXRef-b", "SPDXRef-DOCUMENT", "CONTAINS", "../x"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["SPDXID", "fileName", "checksums", "hasFiles", "spdxElementId", "relatedSpdxElement", "licenseId"]
            ),
            inner,
        )
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*ATTESTED, "documentDescribes", "annotations"]), st.lists(_LOOSE) | _LOOSE))
@example({"packages": [{"SPDXID": "SPDXRef-a"}, {"SPDXID": "SPDXRef-a"}]})
@example({"files": [{"SPDXID": "SPDXRef-a"}], "packages": [{"SPDXID": "SPDXRef-a"}]})
@settings(max_examples=50)
def test_whatever_a_statement_holds_the_document_stays_valid(predicate: dict[str, object]) -> None:
    lines: list[tuple[str, bytes]] = []
    text = json.dumps({"predicate": predicate})
    Attested(text, owner="SPDXRef-o", number=0, prefix="p", where="").write(lambda *line: lines.append(line))
    sections: dict[str, list[object]] = {"packages": [{"SPDXID": "SPDXRef-o"}]}
    for section, line in lines:
        sections.setdefault(section, []).append(json.loads(line))
    Document(json.dumps(sections).encode()).check()


@pytest.mark.shows("The SBOM of an image is valid SPDX 2.3", by="peer")
def test_the_reference_validator_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / "sbom.spdx.json"
    path.write_bytes(made(attested(tmp_path), tmp_path).text)
    proc.run(["pyspdxtools", "--infile", path, "--version", "SPDX-2.3"])


@pytest.mark.long
@pytest.mark.shows("syft reads the SBOM of an image and finds its packages", by="peer")
def test_a_scanner_finds_the_packages(tmp_path: Path) -> None:
    context = Context.from_environment()
    path = tmp_path / "sbom.spdx.json"
    path.write_bytes(made(attested(tmp_path), tmp_path).text)
    environment = {**context.environment, "SYFT_CHECK_FOR_APP_UPDATE": "false", "HOME": str(tmp_path)}
    syft = python_program(context, "syft")
    found = json.loads(proc.run([syft, "convert", path, "-o", "cyclonedx-json"], env=environment))
    purls = {each.get("purl", "") for each in found["components"]}
    assert "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64" in purls
    assert any(each.startswith("pkg:oci/web@sha256") for each in purls)
