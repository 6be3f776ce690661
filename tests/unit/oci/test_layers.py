from __future__ import annotations

import tarfile

import pytest

from moby.errors import IntegrityError
from moby.oci.store import Store
from tests.support.flat import NAME, collect, flat, shown
from tests.support.images import COMPRESSORS, Layer, Node, device, directory, hardlink, image, symlink


def test_layers_come_bottom_first_in_their_own_order(store: Store) -> None:
    assert list(flat(store, {"b": "1", "a": "1"}, {"d": "2", "c": "2"})) == ["b", "a", "d", "c"]


def test_a_later_layer_wins(store: Store) -> None:
    assert flat(store, {"a": "1", "b": "1"}, {"a": "2"}) == {"b": b"1", "a": b"2"}


def test_the_last_duplicate_in_a_layer_wins(store: Store) -> None:
    assert flat(store, [("a", "1"), ("b", "x"), ("a", "2")]) == {"b": b"x", "a": b"2"}


def test_a_directory_takes_the_last_metadata_and_keeps_its_children(store: Store) -> None:
    top = {"d/": directory(0o700, uid=7)}
    assert flat(store, {"d/": directory(0o755), "d/a": "1"}, top) == {"d": "700", "d/a": b"1"}


def test_parents_come_first_even_when_the_archive_has_them_last_or_not_at_all(store: Store) -> None:
    found = flat(store, [("a/b/c", "1"), ("a/b/", directory(0o711)), ("x/y", "2")])
    assert list(found.items()) == [("a", "755"), ("a/b", "711"), ("a/b/c", b"1"), ("x", "755"), ("x/y", b"2")]


def test_a_whiteout_hides_a_file_or_a_whole_directory_of_lower_layers(store: Store) -> None:
    lower: Layer = {"keep": "1", "gone": "1", "dir/": "", "dir/sub/": "", "dir/sub/file": "1"}
    assert flat(store, lower, {".wh.gone": "", ".wh.dir": "", ".wh.absent": "", "no/.wh.where": ""}) == {"keep": b"1"}


@pytest.mark.parametrize("first", [True, False])
def test_a_whiteout_leaves_its_own_layer_alone_wherever_it_stands(store: Store, first: bool) -> None:
    new: list[tuple[str, str | bytes | Node]] = [("d/", directory(0o700)), ("d/new", "2")]
    top = [(".wh.d", ""), *new] if first else [*new, (".wh.d", "")]
    assert flat(store, {"d/": directory(), "d/old": "1", "d/sub/x": "1"}, top) == {"d": "700", "d/new": b"2"}


@pytest.mark.parametrize("first", [True, False])
def test_an_opaque_directory_hides_everything_below_it(store: Store, first: bool) -> None:
    new: list[tuple[str, str | bytes | Node]] = [("d/new", "2"), ("d/sub/new", "2")]
    top = [("d/.wh..wh..opq", ""), *new] if first else [*new, ("d/.wh..wh..opq", "")]
    lower: Layer = {"d/": directory(0o711), "d/old": "1", "d/sub/": directory(0o700), "d/sub/old": "1", "e/old": "1"}
    expected = {"d": "711", "d/new": b"2", "d/sub": "755", "d/sub/new": b"2", "e": "755", "e/old": b"1"}
    assert flat(store, lower, top) == expected


def test_an_opaque_root_hides_all_lower_layers(store: Store) -> None:
    assert flat(store, {"a": "1", "b/c": "1"}, {".wh..wh..opq": "", "d": "2"}) == {"d": b"2"}


def test_other_names_of_aufs_mean_nothing(store: Store) -> None:
    assert flat(store, {"a": "1"}, {".wh..wh.aufs": "", ".wh..wh.plnk/": "", ".wh..wh.plnk/1.2": "x"}) == {"a": b"1"}


def test_a_file_replaces_a_directory_and_the_other_way_round(store: Store) -> None:
    lower: Layer = {"d/": "", "d/x": "1", "f": "1"}
    assert flat(store, lower, {"d": "2", "f/": "", "f/y": "2"}) == {"d": b"2", "f": "755", "f/y": b"2"}


def test_a_directory_below_a_file_is_refused(store: Store) -> None:
    with pytest.raises(IntegrityError, match=r"layer sha256:\w+: 'f/x': 'f' above it is not a directory"):
        flat(store, {"f": "1"}, {"f/x": "2"})


def test_a_parent_that_is_a_link_is_followed_inside_the_tree(store: Store) -> None:
    lower: Layer = {
        "usr/lib/": directory(0o711),
        "lib": symlink("usr/lib"),
        "abs": symlink("/usr"),
        "up": symlink(".."),
    }
    top: Layer = {"lib/a": "2", "abs/lib/b": "2", "up/up/c": "2", "lib/d/": directory(0o700), "lib/d/e": "3"}
    found = flat(store, lower, top)
    assert {"usr/lib/a", "usr/lib/b", "c", "usr/lib/d", "usr/lib/d/e"} <= set(found)
    assert found["lib"] == "-> usr/lib"
    assert found["usr/lib/d"] == "700"
    assert not [path for path in found if path.startswith(("lib/", "abs/", "up/"))]


@pytest.mark.parametrize("target", ["/etc", "../../../../etc", "/../etc", "a/../../etc"])
def test_a_link_cannot_lead_out_of_the_tree(store: Store, target: str) -> None:
    found = flat(store, {"a/": "", "x": symlink(target)}, {"x/passwd": "evil"})
    assert {path for path in found if path.endswith("passwd")} == {"etc/passwd"}


def test_a_directory_replaces_a_link(store: Store) -> None:
    found = flat(store, {"usr/lib/a": "1", "lib": symlink("usr/lib")}, {"lib/": "", "lib/b": "2"})
    assert found["lib/b"] == b"2"
    assert found["usr/lib/a"] == b"1"
    assert "usr/lib/b" not in found


def test_a_whiteout_of_a_link_lets_the_layer_make_a_directory(store: Store) -> None:
    lower: Layer = {"usr/lib/x": "1", "lib": symlink("usr/lib")}
    found = flat(store, lower, [("lib/a", "2"), (".wh.lib", ""), ("lib/b", "2")])
    assert found["usr/lib/a"] == b"2"
    assert found["lib/b"] == b"2"


def test_links_in_a_circle_are_refused(store: Store) -> None:
    with pytest.raises(IntegrityError, match="too many symbolic links"):
        flat(store, {"a": symlink("b"), "b": symlink("a")}, {"a/x": "1"})


def test_a_hard_link_stays_one(store: Store) -> None:
    assert flat(store, {"a": "1", "b": hardlink("a")}) == {"a": b"1", "b": "= a"}
    assert flat(store, {"a": "1"}, {"b": hardlink("a"), "c": hardlink("b")}) == {"a": b"1", "b": "= a", "c": "= a"}


@pytest.mark.parametrize("top", [{"a": "2"}, {".wh.a": ""}, {"a": symlink("/x")}, {"a/": ""}])
def test_a_hard_link_keeps_the_data_of_a_target_that_was_replaced(store: Store, top: Layer) -> None:
    found = flat(store, {"a": "1", "d/b": hardlink("a"), "c": hardlink("a")}, top)
    assert found["d/b"] == b"1"
    assert found["c"] == "= d/b"
    assert found.get("a") != b"1"


def test_a_hard_link_to_a_replaced_file_of_the_same_layer_keeps_its_data(store: Store) -> None:
    assert flat(store, [("a", "1"), ("b", hardlink("a")), ("a", "2")]) == {"b": b"1", "a": b"2"}


def test_a_hard_link_through_a_link_is_resolved(store: Store) -> None:
    lower: Layer = {"usr/bin/x": "1", "bin": symlink("usr/bin")}
    assert flat(store, lower, {"bin/y": hardlink("bin/x")})["usr/bin/y"] == "= usr/bin/x"


def test_hard_links_to_links_and_devices_become_copies(store: Store) -> None:
    found = flat(store, {"s": symlink("t"), "n": device(1, 3), "s2": hardlink("s"), "n2": hardlink("n")}, {"s": "new"})
    assert found == {"s2": "-> t", "n": "CHAR 1:3", "n2": "CHAR 1:3", "s": b"new"}


@pytest.mark.parametrize("target", ["absent", "b", "d", "x/y"])
def test_a_hard_link_without_a_file_is_refused(store: Store, target: str) -> None:
    with pytest.raises(IntegrityError, match=r"layer sha256:\w+: 'b': hard link to"):
        flat(store, {"d/": "", "b": hardlink(target)})


def test_devices_modes_owners_and_attributes_pass_through(store: Store) -> None:
    node = Node(data=b"x", mode=0o4755, uid=1234567890, pax={"SCHILY.xattr.security.capability": "caps"})
    found = collect(store, image([{"dev/null": device(1, 3), "dev/sda": device(8, 0, type=tarfile.BLKTYPE),
                                   "su": node}]).save(store, NAME))  # fmt: skip
    by_path = {entry.path: entry for entry in found}
    assert shown(by_path["dev/null"]) == "CHAR 1:3"
    assert shown(by_path["dev/sda"]) == "BLOCK 8:0"
    assert (by_path["su"].mode, by_path["su"].uid) == (0o4755, 1234567890)
    assert by_path["su"].xattrs == (("security.capability", b"caps"),)


@pytest.mark.parametrize("compression", sorted(COMPRESSORS))
def test_every_compression_is_recognised_by_its_content(store: Store, compression: str) -> None:
    saved = image([{"a": "1"}, {"b": "2"}], compression=compression).save(store, NAME)
    assert [entry.path for entry in collect(store, saved)] == ["a", "b"]


def test_large_files_are_streamed(store: Store) -> None:
    data = bytes(range(256)) * 20_000
    found = flat(store, {"big": data, "link": hardlink("big")}, {"big": "small"})
    assert found == {"link": data, "big": b"small"}
