"""The SBOM accounts for every file of the image, whatever the images bring, hot and cold."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest

from moby import outputs
from moby.formats import cpio, initrd
from moby.formats.entry import Entry, Kind
from moby.outputs.settings import Settings
from moby.rootfs.build import entries
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.pieces import Layout
from moby.rootfs.sbom import Sbom, fragment
from tests.support import images
from tests.support.images import image
from tests.support.roots import Root
from tests.support.sboms import MADE, RECORD, TEXT, Document, machine, made, sbom


def files(machine: Root) -> set[str]:
    """The paths of all regular files of the tree, by any name."""
    return {path for path, node in machine.tree().items() if node.kind == "file"}


@pytest.fixture
def built(tmp_path: Path) -> Document:
    return made(machine(tmp_path), tmp_path)


def test_every_file_belongs_to_one_named_input(tmp_path: Path, built: Document) -> None:
    owners = built.owners()
    assert set(owners) == files(machine(tmp_path))
    assert all(len(each) == 1 for each in owners.values()), owners


def test_files_belong_to_what_they_came_from(built: Document) -> None:
    owners = {path: owner for path, (owner,) in built.owners().items()}
    assert owners["boot/kernel"] == owners["lib/a.ko"] == "docker.io/library/k"
    assert owners["bin/init"] == owners["big"] == "docker.io/library/more"
    assert owners["var/lib/dpkg/status.d/libc6"] == "docker.io/library/init"
    assert owners["containers/onboot/000-once/lower/bin/x"] == "docker.io/library/web"
    assert owners["containers/services/other/rootfs/o"] == "docker.io/library/other"
    assert owners["containers/volumes/packed/lower/index.json"] == "docker.io/library/other"
    for path in ("boot/cmdline", "etc/motd", "containers/services/web/config.json"):
        assert owners[path] == "configuration"
    # The YAML put something over a file of the image.
    assert owners["containers/onboot/000-once/lower/etc/w"] == "configuration"


def test_replaced_files_are_not_listed(built: Document) -> None:
    assert "etc/gone" not in built.owners()
    listed = [each["fileName"] for each in built.elements("files")]
    assert len(listed) == len(set(listed))


def test_checksums_are_those_of_the_bytes(built: Document) -> None:
    sums = {each["fileName"]: each["checksums"] for each in built.elements("files")}
    # SHA-1 of "2" and of "hello"
    assert sums["bin/init"] == [{"algorithm": "SHA1", "checksumValue": "da4b9237bacccdf19c0760cab7aec4a8359010b0"}]
    assert sums["etc/motd"] == [{"algorithm": "SHA1", "checksumValue": "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d"}]


def test_images_are_packages_with_digest_place_and_users(tmp_path: Path, built: Document) -> None:
    plan = machine(tmp_path).plan
    web = built.package("docker.io/library/web")
    digest = str(plan.containers[0].image.digest)
    assert web["versionInfo"] == digest
    assert web["packageFileName"] == "containers/onboot/000-once/lower"
    assert web["comment"] == "onboot[0], services[0]"
    assert f"pkg:oci/web@{digest}?arch=amd64&repository_url=docker.io/library/web" in json.dumps(web)
    assert set(built.contained("machine")) >= {f"docker.io/library/{name}" for name in ("k", "init", "more", "web")}


def test_packages_come_from_the_image_s_database(built: Document) -> None:
    assert built.contained("docker.io/library/init") == ["libc6"]
    libc = built.package("libc6")
    assert libc["versionInfo"] == "2.41-12+deb13u1"
    assert "pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64" in json.dumps(libc)


def test_it_is_the_last_entry_with_fixed_metadata(tmp_path: Path) -> None:
    *_, last = sbom(machine(tmp_path), tmp_path)
    described = (last.path, last.kind, last.mode, last.uid, last.gid, last.mtime_s)
    assert described == ("sbom.spdx.json", Kind.FILE, 0o644, 0, 0, FIXED_MTIME_S)


def test_the_rest_of_the_tree_is_the_same_with_and_without(tmp_path: Path) -> None:
    built = machine(tmp_path)

    def held(stream: Iterator[Entry]) -> list[Entry]:
        return [
            each if isinstance(each.data, bytes) else replace(each, data=each.data.read(each.size)) for each in stream
        ]

    without = held(entries(built.plan, built.store))
    for _ in "cold", "hot":
        assert held(sbom(built, tmp_path))[:-1] == without


def test_hot_and_cold_and_damaged_caches_give_the_same(tmp_path: Path) -> None:
    built = machine(tmp_path)
    cold = made(built, tmp_path)
    assert made(built, tmp_path) == cold
    for path in (tmp_path / "cache").iterdir():
        data = path.read_bytes()
        path.write_bytes(data[:-20] + b"X" + data[-19:])
    assert made(built, tmp_path) == cold
    for path in (tmp_path / "cache").iterdir():
        path.write_bytes(b"{}")
    assert made(built, tmp_path) == cold
    assert made(built, tmp_path / "elsewhere") == cold


def test_hot_builds_do_not_hash_what_did_not_change(tmp_path: Path) -> None:
    made(machine(tmp_path), tmp_path)
    before = {path.name: path.stat().st_ino for path in (tmp_path / "cache").iterdir()}
    changed = machine(tmp_path, TEXT.replace("hello", "changed").replace("console=ttyS0", "quiet"))
    document = made(changed, tmp_path)
    assert {path.name: path.stat().st_ino for path in (tmp_path / "cache").iterdir()} == before
    assert document != made(machine(tmp_path), tmp_path)


def test_files_that_nobody_reads_are_hashed_all_the_same(tmp_path: Path) -> None:
    read = made(machine(tmp_path), tmp_path)
    unread = [entry for entry in sbom(machine(tmp_path), tmp_path / "fresh") if entry.path != "sbom.spdx.json"]
    assert unread
    assert made(machine(tmp_path), tmp_path / "fresh") == read


def test_the_namespace_is_made_from_the_content(tmp_path: Path, built: Document) -> None:
    assert built.fields["documentNamespace"] == made(machine(tmp_path), tmp_path).fields["documentNamespace"]
    other = made(machine(tmp_path, TEXT.replace("hello", "hullo")), tmp_path)
    assert built.fields["documentNamespace"] != other.fields["documentNamespace"]


def test_the_time_is_what_is_asked_for(tmp_path: Path, built: Document) -> None:
    assert built.fields["creationInfo"]["created"] == "2017-04-18T16:30:00Z"
    later = made(machine(tmp_path), tmp_path, created="2026-01-02T03:04:05Z")
    assert later.fields["creationInfo"]["created"] == "2026-01-02T03:04:05Z"


def test_its_path_may_lie_in_a_directory_that_nobody_made(tmp_path: Path) -> None:
    built = machine(tmp_path)
    made(built, tmp_path, path="usr/share/x/sbom.json")
    paths = [entry.path for entry in sbom(built, tmp_path, path="usr/share/x/sbom.json")]
    assert paths[-4:] == ["usr", "usr/share", "usr/share/x", "usr/share/x/sbom.json"]


def test_it_takes_the_place_of_an_image_s_file(tmp_path: Path) -> None:
    built = machine(tmp_path, "init: [a]", {"docker.io/library/a": image([{"sbom.spdx.json": "theirs", "b": "b"}])})
    assert "sbom.spdx.json" not in made(built, tmp_path).owners()


def test_a_machine_without_images_has_one_too(tmp_path: Path) -> None:
    assert made(machine(tmp_path, "files: [{path: a, contents: b}]"), tmp_path).owners() == {"a": ["configuration"]}
    assert made(machine(tmp_path, "{}"), tmp_path).owners() == {}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {"lib/apk/db/installed": "P:musl\nV:1.2.5-r0\nA:x86_64\no:musl\n\nP:zlib\nV:1.3-r1\nA:x86_64\n"},
            {"pkg:apk/alpine/musl@1.2.5-r0?arch=x86_64", "pkg:apk/alpine/zlib@1.3-r1?arch=x86_64"},
        ),
        (
            {
                "var/lib/dpkg/status": f"{RECORD}\nPackage: gone\nVersion: 1\nStatus: deinstall ok config-files\n",
                "etc/os-release": 'NAME=x\nID="ubuntu"\n',
            },
            {"pkg:deb/ubuntu/libc6@2.41-12%2Bdeb13u1?arch=amd64"},
        ),
        (
            {"var/lib/dpkg/status": f"{RECORD}Description: {'x' * (2 << 20)}\n\nPackage: b\nVersion: 1\n"},
            {"pkg:deb/debian/libc6@2.41-12%2Bdeb13u1?arch=amd64", "pkg:deb/debian/b@1"},
        ),
        ({"var/lib/dpkg/status.d/a.md5sums": RECORD, "var/lib/dpkg/status.d/b": "\n\n:\nPackage\n"}, set()),
    ],
)
@pytest.mark.parametrize("text", ["init: [a]", "services: [{name: s, image: a}]"])
def test_package_databases(tmp_path: Path, text: str, files: dict[str, str], expected: set[str]) -> None:
    built = made(machine(tmp_path, text, {"docker.io/library/a": image([files])}), tmp_path)
    found = {
        reference["referenceLocator"]
        for each in built.elements("packages")
        for reference in each.get("externalRefs", ())
    }
    assert {each for each in found if not each.startswith("pkg:oci/")} == expected


LABELLED = {
    **MADE,
    "docker.io/library/k": image(
        [{"kernel": "vmlinuz", "kernel.tar": images.tar({"lib/": "", "lib/a.ko": "module"})}],
        {"Labels": {"org.mobyproject.moby.initrd": "zstd", "org.mobyproject.moby.squashfs": "zstd"}},
    ),
    "docker.io/library/init": image(
        [{"bin/init": "1", "etc/motd": "old", "etc/gone": "x", "var/lib/dpkg/status.d/libc6": RECORD}],
        {"Labels": {"org.mobyproject.moby.root": "tree,images"}},
    ),
}


def in_initrd(built: Root, folder: Path, layout: Layout) -> bytes:
    folder.mkdir(exist_ok=True)
    wanted = Settings(sbom=Sbom(cache=folder / "sbom"), layout=layout, cache=folder)
    (artifact,) = outputs.write(
        built.plan, built.store, formats=["kernel+initrd"], name="a", directory=folder, settings=wanted
    )
    with artifact.file("initrd").open("rb") as stream:
        for entry in cpio.read(decompress_all(stream)):
            if entry.path == "sbom.spdx.json":
                return entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size)
    raise AssertionError("no SBOM in it")


def decompress_all(stream: BinaryIO) -> BinaryIO:
    return io.BytesIO(b"".join(each.open(stream).read() for each in initrd.segments(stream)))


@pytest.mark.parametrize("layout", list(Layout))
def test_it_is_the_same_however_the_root_is_packed_hot_and_cold(tmp_path: Path, layout: Layout) -> None:
    built = machine(tmp_path, made=LABELLED)
    expected = made(built, tmp_path).text
    assert in_initrd(built, tmp_path / "b", layout) == expected
    assert in_initrd(built, tmp_path / "b", layout) == expected
    # The parts are known, what the SBOM says of them no more.
    for path in (tmp_path / "b" / "sbom").iterdir():
        path.unlink()
    for path in (tmp_path / "b").glob("a-*"):
        path.unlink()
    assert in_initrd(built, tmp_path / "b", layout) == expected


def test_what_is_kept_of_parts_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moby.rootfs.sbom.fragment._MAX_CACHE_BYTES", 2500)
    cache = fragment.Cache(tmp_path)
    for number in range(5):
        writer = fragment.Writer()
        writer.add("files", b"x" * 900)
        kept = cache.keep(f"key{number}", writer, code="")
        os.utime(kept.path, ns=(number, number))
    assert sorted(each.name for each in tmp_path.iterdir()) == ["key3", "key4"]
    assert cache.find("key4") is not None
