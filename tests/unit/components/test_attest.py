"""Component images come with an SBOM of the packages that have files in them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from moby import proc
from moby.components.attest import attest, document
from moby.components.lock import Lock, Package
from moby.components.recipe import Recipe
from moby.oci import attestations
from moby.oci.image import Image
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.images import image

BUILD = "image: web\npackages: [web]\n"
KERNEL = "image: kernel\nkernel: {package: linux-image, modules: []}\n"


def package(name: str, **fields: str) -> Package:
    given = {"architecture": "amd64", "version": "1:2.3-4+b1", "suite": "trixie-security", "archive": "debian-security"}
    return Package(package=name, size_bytes=9, sha256="ab" * 32, path=f"pool/{name}.deb", **{**given, **fields})


LOCK = Lock(request="", packages=(package("libc6"), package("unused"), package("web", architecture="all")))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def recipe(folder: Path, text: str = BUILD) -> Recipe:
    folder.mkdir(exist_ok=True)
    (folder / "build.yml").write_text(text)
    return Recipe.load(folder)


def built(store: Store) -> Image:
    records = {f"var/lib/dpkg/status.d/{name}": f"Package: {name}\n" for name in ("libc6", "web")}
    return image([records]).save(store, "localhost/moby/web:1")


def packages(store: Store, made: Image) -> dict[str, dict[str, object]]:
    (statement,) = attestations.find(store, made)
    predicate = json.loads(store.read_blob(statement.digest, 1 << 20))["predicate"]
    return {each["name"]: each for each in predicate["packages"]}


def test_only_packages_with_files_are_listed(tmp_path: Path, store: Store) -> None:
    made = built(store)
    attest(store, made, recipe(tmp_path / "web"), LOCK)
    found = packages(store, made)
    assert sorted(found) == ["libc6", "web"]
    assert found["libc6"]["versionInfo"] == "1:2.3-4+b1"
    assert found["libc6"]["checksums"] == [{"algorithm": "SHA256", "checksumValue": "ab" * 32}]
    assert found["libc6"]["externalRefs"] == [
        {
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": "pkg:deb/debian/libc6@1:2.3-4%2Bb1?arch=amd64&distro=trixie",
        }
    ]


def test_a_kernel_has_no_records_and_lists_its_lock(tmp_path: Path, store: Store) -> None:
    made = image([{"kernel": "k"}]).save(store, "localhost/moby/kernel:1")
    attest(store, made, recipe(tmp_path / "k", KERNEL), Lock(request="", packages=(package("linux-image-6"),)))
    assert sorted(packages(store, made)) == ["linux-image-6"]


def test_other_names_of_the_image_say_it_too(tmp_path: Path, store: Store) -> None:
    made = built(store)
    tagged = image([{"var/lib/dpkg/status.d/web": "Package: web\n"}]).save(store, "localhost/moby/web:1.x")
    assert tagged.digest != made.digest
    store.put_image("localhost/moby/web:1.x", _config(store, made), made.layers, made.platform)
    attest(store, made, recipe(tmp_path / "web"), LOCK, ("localhost/moby/web:1.x",))
    found = store.find(Reference.parse("localhost/moby/web:1.x"), made.platform)
    assert found is not None
    assert sorted(packages(store, found)) == ["libc6", "web"]


def _config(store: Store, made: Image) -> bytes:
    manifest = json.loads(store.read_blob(made.digest, 1 << 20))
    digest = made.digest.parse(manifest["config"]["digest"])
    return store.read_blob(digest, 1 << 20)


def test_it_is_made_once(tmp_path: Path, store: Store) -> None:
    made = built(store)
    attest(store, made, recipe(tmp_path / "web"), LOCK)
    before = (store.root / "index.json").read_bytes()
    attest(store, made, recipe(tmp_path / "web"), LOCK)
    assert (store.root / "index.json").read_bytes() == before


def test_a_store_that_cannot_be_written_to_is_no_error(tmp_path: Path, store: Store) -> None:
    made = built(store)
    # Root may write everywhere but to what is no directory.
    (store.root / "ingest").rmdir()
    (store.root / "ingest").write_text("")
    attest(store, made, recipe(tmp_path / "web"), LOCK)
    assert attestations.find(store, made) == ()
    assert store.find(made.reference, made.platform) == made


def test_without_packages_there_is_nothing_to_attach(tmp_path: Path, store: Store) -> None:
    made = built(store)
    for lock in (None, Lock(request="", packages=())):
        attest(store, made, recipe(tmp_path / "web"), lock)
    assert attestations.find(store, made) == ()


@pytest.mark.shows("The SBOM of a component is valid SPDX 2.3", by="peer")
def test_the_reference_validator_accepts_it(tmp_path: Path) -> None:
    path = tmp_path / "web.spdx.json"
    path.write_bytes(document("web", list(LOCK.packages)))
    proc.run(["pyspdxtools", "--infile", path, "--version", "SPDX-2.3"])
