"""What differs is named where it is, and only there."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moby.cli.main import main
from moby.errors import ConfigError
from moby.evidence.diff import Difference, diff, explained
from moby.formats import cpio, tar
from moby.formats.compress import Codec, compressor
from moby.formats.entry import Entry, Kind, directory, file, symlink
from tests.support.artifacts import TEXT, build


def archive(folder: Path, name: str, entries: list[Entry]) -> Path:
    path = folder / name
    with path.open("wb") as out:
        tar.write(entries, out)
    return path


def shown(a: Path, b: Path) -> list[str]:
    return [str(each) for each in diff(a, b)]


BASE = [
    directory("d"),
    file("d/a", b"one"),
    file("d/b", b"two", mode=0o600),
    symlink("l", "d/a"),
    Entry(path="n", kind=Kind.CHAR, mode=0o666, major=1, minor=3),
]


def changed(index: int, **fields: object) -> list[Entry]:
    entries = list(BASE)
    entries[index] = replace(entries[index], **fields)  # type: ignore[arg-type]  # any field
    return entries


@pytest.mark.parametrize(
    ("entries", "expected"),
    [
        (BASE, []),
        (changed(1, data=b"one!", size=4), ["d/a: size 3 -> 4, sha256 7692c3ad3540 -> e3b1e0ef8d9a"]),
        (changed(2, mode=0o644), ["d/b: mode 0600 -> 0644"]),
        (changed(1, uid=7), ["d/a: owner 0:0 -> 7:0"]),
        (changed(1, mtime_s=9), ["d/a: mtime 0 -> 9"]),
        (changed(3, target="d/b"), ["l: target d/a -> d/b"]),
        (changed(4, minor=5), ["n: device 1:3 -> 1:5"]),
        (changed(1, xattrs=(("user.x", b"v"),)), ["d/a: xattrs {} -> {'user.x': '76'}"]),
        (
            changed(3, kind=Kind.FILE, target="", size=1, data=b"x"),
            ["l: kind symlink -> file, size 0 -> 1, sha256  -> 2d711642b726, target d/a -> "],
        ),
        (BASE[:4], ["only in A: n"]),
        ([*BASE, file("z", b"")], ["only in B: z"]),
        # Of two with one path the later wins, as in the machine.
        ([file("d/a", b"old"), *BASE], []),
    ],
)
def test_differences_of_entries(tmp_path: Path, entries: list[Entry], expected: list[str]) -> None:
    a, b = archive(tmp_path, "a", BASE), archive(tmp_path, "b", entries)
    found = [each for each in shown(a, b) if not each.startswith("the whole")]
    assert [each.replace(_whole(each), "") for each in found] == [each.replace(_whole(each), "") for each in expected]


def _whole(text: str) -> str:
    """Hashes are not spelt out again here but for their being there."""
    return text.partition("sha256 ")[2].partition(",")[0] or "\0"


def test_the_order_of_entries_is_a_difference_of_the_whole(tmp_path: Path) -> None:
    a, b = archive(tmp_path, "a", BASE), archive(tmp_path, "b", [*BASE[3:], *BASE[:3]])
    (only,) = shown(a, b)
    assert only.startswith("the whole: sha256 ")


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(st.text("abc", min_size=1, max_size=3), st.binary(max_size=3), min_size=1), st.data())
def test_no_changed_file_is_missed(
    tmp_path_factory: pytest.TempPathFactory, tree: dict[str, bytes], data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("t")
    other = dict(tree)
    for name in data.draw(st.sets(st.sampled_from([*sorted(tree), "new"]))):
        other[name] = data.draw(st.binary(max_size=3))
    a = archive(folder, "a", [file(path, content) for path, content in tree.items()])
    b = archive(folder, "b", [file(path, content) for path, content in other.items()])
    expected = {path for path in tree.keys() | other.keys() if tree.get(path) != other.get(path)}
    assert {each.place[-1] for each in diff(a, b) if each.place} == expected


def test_segments_and_codecs_of_an_initrd_do_not_hide_its_files(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    with a.open("wb") as out, compressor(Codec.GZIP, out) as packed:
        cpio.write([file("x", b"1"), file("y", b"2")], packed)
    with b.open("wb") as out:
        cpio.write([file("x", b"1")], out)
        with compressor(Codec.ZSTD, out) as packed:
            cpio.write([file("y", b"3")], packed)
    found = shown(a, b)
    assert found[0] == "the whole: codec gzip -> ('none', 'zstd')"
    assert found[1].startswith("y: sha256 ")
    assert len(found) == 2


@pytest.mark.parametrize("format", ["uki", "raw-efi", "iso-efi-initrd", "tar", "kernel+initrd", "qcow2-efi"])
def test_a_file_of_the_root_is_one_line(tmp_path: Path, format: str) -> None:
    (one,) = build(tmp_path / "a", [format])
    (other,) = build(tmp_path / "b", [format], TEXT.replace("hello", "hullo"))
    for (_, a), (_, b) in zip(one.files, other.files, strict=True):
        found = shown(a, b)
        if a.read_bytes() != b.read_bytes():
            (only,) = found
            assert "etc/motd: sha256 " in only
        else:
            assert found == []
    assert any(map(shown, dict(one.files).values(), dict(other.files).values()))


def test_the_command_line_of_a_program_is_shown(tmp_path: Path) -> None:
    (one,) = build(tmp_path / "a", ["uki"])
    (other,) = build(tmp_path / "b", ["uki"], TEXT.replace("ttyS0", "ttyS1"))
    first, *_ = shown(one.file("efi"), other.file("efi"))
    assert first.startswith(".cmdline: ")
    assert "text console=ttyS0 rootfstype=ramfs -> console=ttyS1 rootfstype=ramfs" in first


def test_disks_are_compared_through_their_containers(tmp_path: Path) -> None:
    raw, image = build(tmp_path / "a", ["raw-efi", "qcow2-efi"])
    (other,) = build(tmp_path / "b", ["qcow2-efi"], page="other")
    assert shown(raw.file("disk"), image.file("disk")) == []
    (only,) = shown(raw.file("disk"), other.file("disk"))
    assert only.startswith(
        "partition 1: EFI/BOOT/BOOTX64.EFI: .initrd: containers/services/web/lower/usr/share/page: size 4 -> 5"
    )


def test_builds_are_compared_by_name(tmp_path: Path) -> None:
    build(tmp_path / "a", ["kernel+initrd"])
    build(tmp_path / "b", ["kernel+initrd", "uki"], TEXT.replace("hello", "hullo"))
    for suffix in ("-kernel", "-initrd.img", "-cmdline"):
        (tmp_path / "b" / f"web{suffix}").rename(tmp_path / "b" / f"next{suffix}")
    (only,) = shown(tmp_path / "a" / "web", tmp_path / "b" / "next")
    assert only.startswith("-initrd.img: etc/motd: sha256 ")


def test_what_only_one_build_has_is_not_looked_into(tmp_path: Path) -> None:
    build(tmp_path / "a", ["kernel+initrd"])
    build(tmp_path / "b", ["kernel+initrd"])
    with (tmp_path / "b" / "web.tar").open("wb") as broken:
        broken.write(archive(tmp_path, "c", BASE).read_bytes()[:-1024] + b"broken" * 200)
    assert shown(tmp_path / "a" / "web", tmp_path / "b" / "web") == ["only in B: .tar"]


def test_things_of_different_kinds_are_not_listed_file_by_file(tmp_path: Path) -> None:
    (made,) = build(tmp_path, ["kernel+initrd"])
    (only,) = shown(made.file("kernel"), made.file("initrd"))
    assert only.startswith("the whole: kind Linux kernel -> initrd")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = archive(tmp_path, "a", BASE), archive(tmp_path, "b", changed(2, mode=0o644))
    assert main(["diff", str(a), str(a)]) == 0
    assert capsys.readouterr().out == "no differences\n"
    assert main(["diff", str(a), str(b)]) == 1
    assert capsys.readouterr().out == "d/b: mode 0600 -> 0644\n"
    assert main(["diff", "--json", str(a), str(b)]) == 1
    assert json.loads(capsys.readouterr().out) == {
        "same": False,
        "differences": [{"place": ["d/b"], "only": "", "changes": {"mode": {"a": "0600", "b": "0644"}}}],
    }
    assert main(["inspect", "--json", str(a)]) == 0
    assert json.loads(capsys.readouterr().out)["entries"] == 5
    assert main(["inspect", str(a)]) == 0
    assert capsys.readouterr().out.startswith("a: tar, ")


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        diff(archive(tmp_path, "a", BASE), tmp_path / "none")


def test_hashes_of_a_root_follow_from_its_files() -> None:
    tree = Difference(place=("p", "verity"), changes={"root hash": ("a", "b"), "sha256": ("c", "d")})
    assert tree.follows
    line = "console=ttyS0 moby.root={0} moby.verity={0},1 {1}"
    named = Difference(place=("cmdline",), changes={"text": (line.format("a", "x"), line.format("b", "x"))})
    assert named.follows
    changed = Difference(place=("cmdline",), changes={"text": (line.format("a", "x"), line.format("b", "y"))})
    assert not changed.follows
    file = Difference(place=("p", "etc/x"), changes={"sha256": ("a", "b")})
    assert list(explained([named, tree, file])) == [file]
    assert list(explained([changed, file])) == [changed, file]
    assert list(explained([named, tree])) == [named, tree]
