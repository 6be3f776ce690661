"""Trees: what lies over what, and what is found by which name."""

from __future__ import annotations

import io
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.components.tree import Tree, translate
from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind, directory, file, symlink


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    with Tree(tmp_path) as made:
        yield made


def hardlink(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.HARDLINK, target=target)


def listing(tree: Tree) -> dict[str, Entry]:
    return {entry.path: entry for entry in tree.entries()}


def test_entries_come_sorted_with_their_bodies_and_parents(tree: Tree) -> None:
    tree.add([file("b/c", b"2"), file("a-b", b"0"), file("a", b"1")])
    assert [(each.path, each.data) for each in tree.entries()] == [
        ("a", b"1"),
        ("a-b", b"0"),
        ("b", b""),
        ("b/c", b"2"),
    ]


def test_a_later_file_wins_and_a_later_directory_does_not(tree: Tree) -> None:
    tree.add([directory("d", mode=0o700), file("d/f", b"old"), directory("d", mode=0o755), file("d/f", b"newer")])
    found = listing(tree)
    assert found["d"].mode == 0o700
    assert found["d/f"].data == b"newer"


def test_large_bodies_stream(tree: Tree) -> None:
    data = bytes(range(256)) * 8192
    tree.add([replace(file("big", b""), size=len(data), data=io.BytesIO(data))])
    for entry in tree.entries():
        assert not isinstance(entry.data, bytes)
        assert entry.data.read() == data


def test_refuses_a_body_that_is_too_short(tree: Tree) -> None:
    with pytest.raises(IntegrityError, match="10 bytes announced, 3 given"):
        tree.add([replace(file("x", b""), size=10, data=io.BytesIO(b"abc"))])


def test_entries_below_a_link_go_where_it_leads(tree: Tree) -> None:
    tree.add([directory("usr/lib"), symlink("lib", "usr/lib"), file("lib/x", b"x"), file("lib/sub/y", b"y")])
    assert "usr/lib/x" in tree
    assert "usr/lib/sub/y" in tree
    assert tree["lib"].kind is Kind.SYMLINK


def test_a_directory_over_a_link_keeps_the_link(tree: Tree) -> None:
    tree.add([directory("usr/lib"), symlink("lib", "usr/lib"), directory("lib")])
    assert tree["lib"].kind is Kind.SYMLINK


@pytest.mark.parametrize("target", ["nowhere", "../../..", "file", "loop"])
def test_refuses_entries_below_what_is_no_directory(tree: Tree, target: str) -> None:
    tree.add([file("file", b""), symlink("loop", "loop"), symlink("link", target)])
    with pytest.raises(IntegrityError):
        tree.add([file("link/x", b"")])
    with pytest.raises(IntegrityError):
        tree.add([file("file/x", b"")])


def test_refuses_to_lose_a_full_directory(tree: Tree) -> None:
    tree.add([file("d/f", b"")])
    with pytest.raises(IntegrityError):
        tree.add([symlink("d", "/tmp")])


def test_hard_links_stay_hard_links(tree: Tree) -> None:
    tree.add([file("z", b"same", mode=0o755), hardlink("a", "z"), hardlink("b", "z")])
    found = listing(tree)
    assert (found["a"].kind, found["a"].data, found["a"].mode) == (Kind.FILE, b"same", 0o755)
    assert [(found[name].kind, found[name].target) for name in "bz"] == [(Kind.HARDLINK, "a")] * 2


@pytest.mark.parametrize("target", ["missing", "d", "s"])
def test_refuses_a_hard_link_to_no_file(tree: Tree, target: str) -> None:
    tree.add([directory("d"), symlink("s", "d")])
    with pytest.raises(IntegrityError):
        tree.add([hardlink("x", target)])


def test_follows_links_inside_the_tree_only(tree: Tree) -> None:
    tree.add([file("usr/lib/a.so.1.2", b""), symlink("usr/lib/a.so.1", "a.so.1.2"), symlink("lib", "/usr/lib")])
    tree.add([symlink("up", "../../../../usr/lib"), symlink("dangling", "/etc/passwd"), symlink("l1", "l2")])
    tree.add([symlink("l2", "l1")])
    assert tree.follow("/lib/a.so.1") == ("lib", "usr/lib/a.so.1", "usr/lib/a.so.1.2")
    assert tree.resolve("up/a.so.1") == "usr/lib/a.so.1.2"
    assert tree.resolve("dangling") is None
    assert tree.resolve("l1") is None
    assert tree.resolve("..") is None


def test_keeps_named_paths_with_their_parents(tree: Tree) -> None:
    tree.add([file("a/b/c", b""), file("a/d", b""), file("e", b"")])
    tree.keep(["a/b/c"])
    assert tree.paths() == ["a", "a/b", "a/b/c"]


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("usr/share/doc/**", "usr/share/doc/a/b", True),
        ("usr/share/doc/**", "usr/share/doc", False),
        ("**/x", "x", True),
        ("**/x", "a/b/x", True),
        ("a/**/x", "a/x", True),
        ("a/**/x", "a/b/c/x", True),
        ("a/*/x", "a/b/c/x", False),
        ("a/*.so*", "a/b.so.1", True),
        ("a/?", "a/bc", False),
        ("a/[bc]", "a/c", True),
        ("a/[!bc]", "a/c", False),
        ("a.b", "axb", False),
        ("/a/b", "a/b", True),
        ("a(b|c)+", "a(b|c)+", True),
    ],
)
def test_globs(pattern: str, path: str, matches: bool) -> None:
    assert (translate(pattern).fullmatch(path) is not None) is matches


NAME = st.text("ab.*?", min_size=1, max_size=4).filter(lambda text: text not in (".", "..", "**"))


@given(st.lists(NAME, min_size=1, max_size=3), st.lists(NAME, min_size=1, max_size=3))
def test_globs_without_double_stars_agree_with_pathlib(pattern: list[str], path: list[str]) -> None:
    if any("**" in part for part in pattern):
        return
    whole, name = posixpath.join(*pattern), posixpath.join(*path)
    expected = len(pattern) == len(path) and PurePosixPath("/" + name).match("/" + whole)
    assert (translate(whole).fullmatch(name) is not None) is expected
