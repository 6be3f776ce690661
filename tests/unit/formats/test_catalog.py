from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import IntegrityError
from moby.formats.catalog import Catalog
from moby.formats.entry import Kind

DEFAULT = b"made\0\0\0\0"


def listed(catalog: Catalog) -> list[str]:
    """The tree as lines: path, facts, and how many names there are where it is more than one."""
    lines: list[str] = []
    open_: list[str] = []
    for node in catalog.walk():
        if node is None:
            open_.pop()
            continue
        path = "/".join([*open_[1:], node.name.decode()])
        links = f" x{node.links}" if node.links > 1 else ""
        lines.append(f"{path} {node.facts.rstrip(bytes(1)).decode()}{links}")
        if node.kind is Kind.DIRECTORY:
            open_.append(node.name.decode())
    assert not open_
    return lines


def test_directories_come_before_what_they_hold_and_names_in_byte_order() -> None:
    catalog = Catalog(DEFAULT)
    for path in ("a-b", "a/c", "ab", "a.", "a/b/x", "a/b!"):
        catalog.add(path, Kind.FILE, b"f")
    catalog.add("a", Kind.DIRECTORY, b"late")
    assert listed(catalog) == [
        " made",
        "a late",
        "a/b made",
        "a/b/x f",
        "a/b! f",
        "a/c f",
        "a-b f",
        "a. f",
        "ab f",
    ]


def test_the_later_of_two_wins_whatever_they_are() -> None:
    catalog = Catalog(DEFAULT)
    catalog.add("a", Kind.FILE, b"1")
    catalog.add("a/b", Kind.FILE, b"2")
    catalog.add("a", Kind.DIRECTORY, b"3")
    catalog.add("a/b", Kind.SYMLINK, b"4")
    catalog.add("", Kind.DIRECTORY, b"5")
    catalog.add("", Kind.DIRECTORY, b"6")
    assert listed(catalog) == [" 6", "a 3", "a/b 4"]


def test_links_of_links_and_to_what_was_replaced_are_counted_together() -> None:
    catalog = Catalog(DEFAULT)
    catalog.add("a", Kind.FILE, b"1")
    catalog.link("b", "a")
    catalog.link("c/d", "b")
    catalog.add("a", Kind.FILE, b"2")
    assert listed(catalog) == [" made", "a 2", "b 1 x2", "c made", "c/d 1 x2"]
    files = [node.file for node in catalog.walk() if node and node.kind is Kind.FILE]
    assert files[1] == files[2] != files[0]


@given(st.lists(st.text("ab-.", min_size=1, max_size=3).filter(lambda part: part.strip(".")), min_size=1, max_size=4))
def test_deep_paths_make_all_their_parents(parts: list[str]) -> None:
    catalog = Catalog(DEFAULT)
    catalog.add("/".join(parts), Kind.FILE, b"f")
    assert len(listed(catalog)) == len(parts) + 1


@pytest.mark.parametrize("path", ["a", "a/b", "a/b/c"])
def test_what_is_no_directory_holds_nothing(path: str) -> None:
    catalog = Catalog(DEFAULT)
    catalog.add(path, Kind.FILE, b"")
    catalog.add("aa", Kind.FILE, b"")
    catalog.add(f"{path}/x/y", Kind.FILE, b"")
    with pytest.raises(IntegrityError, match=f"{path}: holds something"):
        list(catalog.walk())
