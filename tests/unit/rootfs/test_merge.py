from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.errors import ConfigError
from moby.formats.entry import Entry, Kind, directory, file, symlink
from moby.rootfs.constants import FIXED_MTIME_S
from moby.rootfs.merge import Merge
from tests.support.tree import Node, unpack


def link(path: str, target: str) -> Entry:
    return Entry(path=path, kind=Kind.HARDLINK, target=target)


def merged(*entries: Entry) -> list[Entry]:
    return list(Merge().add(entries))


def paths(*entries: Entry) -> list[str]:
    return [entry.path for entry in merged(*entries)]


def test_missing_parents_are_made_first() -> None:
    made = merged(file("a/b/c", b""))
    assert [entry.path for entry in made] == ["a", "a/b", "a/b/c"]
    assert unpack(made)["a"] == Node("dir", 0o755, 0, 0, FIXED_MTIME_S)


def test_the_later_of_two_files_wins() -> None:
    assert unpack(merged(file("a", b"1"), file("a", b"2"))) == unpack([file("a", b"2")])


@pytest.mark.parametrize("target", ["usr/bin", "/usr/bin", "./usr/../usr/bin/", "../../usr/bin"])
def test_a_parent_that_is_a_link_is_followed_inside_the_root(target: str) -> None:
    made = paths(directory("usr"), directory("usr/bin"), symlink("bin", target), file("bin/sh", b""))
    assert made == ["usr", "usr/bin", "bin", "usr/bin/sh"]


def test_a_directory_over_a_link_changes_nothing() -> None:
    made = paths(
        directory("usr"), directory("usr/bin"), symlink("bin", "usr/bin"), directory("bin"), file("bin/x", b"")
    )
    assert made == ["usr", "usr/bin", "bin", "usr/bin/x"]


def test_a_directory_over_a_link_to_nothing_makes_what_it_leads_to() -> None:
    assert paths(directory("var"), symlink("var/run", "/run"), directory("var/run"), file("var/run/x", b"")) == [
        "var",
        "var/run",
        "run",
        "run/x",
    ]


def test_hard_links_aim_at_where_their_file_went() -> None:
    made = merged(
        directory("usr"), symlink("lib", "usr"), file("lib/a", b"1"), link("lib/b", "lib/a"), link("c", "lib/b")
    )
    assert [entry.target for entry in made[3:]] == ["usr/a", "usr/b"]
    unpack(made)


def test_a_directory_takes_the_place_of_a_file() -> None:
    made = unpack(merged(file("a", b"x"), directory("a"), file("a/b", b"")))
    assert (made["a"].kind, made["a/b"].kind) == ("dir", "file")


def test_a_directory_that_took_a_files_place_is_one_for_the_parts_of_an_earlier_build_too() -> None:
    early, late, merge = Merge(), Merge(), Merge()
    list(early.add([file("a", b"x")]))
    list(late.add([directory("a"), file("a/b", b"")]))
    for each in (early, late):
        merge.recall(each.names(), ())
    assert [entry.path for entry in merge.put(file("a/c", b""))] == ["a/c"]


def test_a_file_over_a_directory_that_holds_something_is_refused_with_its_origin() -> None:
    late = Entry(path="a", kind=Kind.FILE, origin="init[1]")
    with pytest.raises(ConfigError, match="directory with contents") as caught:
        merged(file("a/b", b""), late)
    assert caught.value.where == "init[1]"


def test_an_empty_directory_may_be_replaced() -> None:
    assert paths(directory("a"), symlink("a", "b")) == ["a", "a"]


def test_a_path_below_a_file_is_refused() -> None:
    with pytest.raises(ConfigError, match="a is not a directory"):
        merged(file("a", b""), file("a/b", b""))


def test_links_in_a_circle_are_refused() -> None:
    with pytest.raises(ConfigError, match="too many symbolic links"):
        merged(symlink("a", "b"), symlink("b", "a"), file("a/x", b""))


def test_links_of_a_container_do_not_lead_out_of_it() -> None:
    merge = Merge()
    list(merge.add([directory("etc"), directory("c"), directory("c/lower")]))
    for target in ("/etc", "../../etc", "/../../etc"):
        nested = list(merge.nest([symlink("c/lower/l", target)], "c/lower"))
        nested += merge.put(file("c/lower/l/passwd", b""))
        assert nested[-1].path == "c/lower/etc/passwd"


def test_generated_directories_come_once_and_win_over_an_image() -> None:
    merge = Merge()
    made = list(merge.put(directory("containers", mode=0o700)))
    for _ in range(2):
        made += merge.generate("containers", origin="services[0]")
    assert [entry.mode for entry in made] == [0o700, 0o755]


def test_directories_are_known_through_links() -> None:
    merge = Merge()
    list(merge.add([directory("usr"), directory("usr/bin"), symlink("bin", "usr/bin"), file("bin/sh", b"")]))
    assert merge.is_directory("bin")
    assert not merge.is_directory("bin/sh")
    assert not merge.is_directory("bin/bash")


KINDS = st.sampled_from([Kind.FILE, Kind.DIRECTORY, Kind.SYMLINK])
PATHS = st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3).map("/".join)
TARGETS = st.lists(st.sampled_from(["a", "b", "..", ".", ""]), min_size=1, max_size=3).map("/".join)


STEPS = st.lists(st.tuples(PATHS, KINDS, TARGETS), min_size=4, max_size=12)
LINK = st.tuples(st.just("a"), st.just(Kind.SYMLINK), st.sampled_from(["b", "b/c", "/c", "../b", "."]))


def test_what_comes_out_can_always_be_unpacked() -> None:
    seen = Counter[str]()

    @given(LINK, STEPS)
    def unpacks(link: tuple[str, Kind, str], steps: list[tuple[str, Kind, str]]) -> None:
        merge, made = Merge(), list[Entry]()
        for path, kind, target in [link, *steps]:
            before = {entry.path for entry in made}
            try:
                for entry in merge.put(Entry(path=path, kind=kind, target=target if kind is Kind.SYMLINK else "")):
                    made.append(entry)
            except ConfigError:
                seen["refused"] += 1  # and the rest must do without it
                continue
            if kind is Kind.FILE:
                assert not merge.is_directory(made[-1].path)
                seen["replaced"] += made[-1].path in before
                seen["through a link"] += made[-1].path != path
        unpack(made)

    unpacks()
    # None of the cases that it is for may be missing from what was tried.
    assert min(seen[each] for each in ("refused", "replaced", "through a link")) >= 10, seen
