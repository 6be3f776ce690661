from __future__ import annotations

import io
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moby.formats import tar
from moby.formats.entry import Entry, Kind, directory, file, symlink
from moby.oci import layers
from moby.oci.image import Image
from moby.oci.store import Store
from tests.support.images import Content, from_tars, image
from tests.support.images import symlink as link
from tests.support.images import tar as made_tar

NAME = "docker.io/library/x:1"


def both(store: Store, made: Image) -> tuple[list[Entry], list[Entry] | None]:
    """What the two ways give; None when the one pass gives up."""
    try:
        quick = list(layers.ordered(store, made, origin="o"))
    except layers.UnorderedError:
        quick = None
    return list(layers.entries(store, made, origin="o")), quick


def written(*entries: Entry) -> bytes:
    out = io.BytesIO()
    tar.write(entries, out, count_links=True)
    return out.getvalue()


def test_an_archive_in_order_needs_one_pass(store: Store) -> None:
    data = written(
        directory("a", mode=0o700),
        file("a/b", b"1"),
        symlink("c", "a"),
        Entry(path="d", kind=Kind.FILE, size=1, data=b"x", links=3),
        Entry(path="e", kind=Kind.HARDLINK, target="d"),
        Entry(path="f", kind=Kind.HARDLINK, target="d"),
    )
    slow, quick = both(store, from_tars([data]).save(store, NAME))
    assert quick == slow
    assert [entry.links for entry in slow] == [1, 1, 1, 3, 1, 1]


@pytest.mark.parametrize(
    "layer",
    [
        [("a/b", "no directory before it")],
        [("a", "1"), ("a", "twice")],
        [("a/", ""), ("a/", "")],
        [("a/", ""), ("a/.wh.b", "")],
        [(".wh..wh..opq", "")],
        [("l", link("d")), ("d/", ""), ("l/x", "through a link")],
        [("n" * 70 + "ä", "")],
    ],
)
def test_anything_else_needs_two(store: Store, layer: Sequence[tuple[str, Content]]) -> None:
    assert both(store, image([layer]).save(store, NAME))[1] is None


@pytest.mark.parametrize("links", [1, 2, 4])
def test_a_wrong_number_of_names_needs_two(store: Store, links: int) -> None:
    first = Entry(path="a", kind=Kind.FILE, size=1, data=b"x", links=links)
    others = [Entry(path=name, kind=Kind.HARDLINK, target="a") for name in "bc"]
    slow, quick = both(store, from_tars([written(first, *others)]).save(store, NAME))
    assert quick is None
    assert slow[0].links == 3


def test_several_layers_need_two(store: Store) -> None:
    assert both(store, image([{"a": "1"}, {"b": "1"}]).save(store, NAME))[1] is None


NAMES = st.sampled_from(["a", "b", "a/b", "a/c", "a/b/c", ".wh.a", "a/.wh.b", "d"])
CONTENTS = st.one_of(st.just("x"), st.builds(link, st.sampled_from(["a", "/a", "../d"])))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.tuples(NAMES, st.booleans(), CONTENTS), max_size=8))
def test_one_pass_gives_the_same_or_gives_up(store: Store, members: list[tuple[str, bool, Content]]) -> None:
    layer = [(f"{name}/", "") if is_directory else (name, content) for name, is_directory, content in members]
    made = from_tars([made_tar(layer)]).save(store, NAME)
    try:
        quick = list(layers.ordered(store, made))
    except layers.UnorderedError:
        return
    assert quick == list(layers.entries(store, made))
