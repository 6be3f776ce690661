from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.images import (
    COMPRESSORS,
    Layer,
    Node,
    device,
    directory,
    from_tars,
    hardlink,
    image,
    symlink,
    tar,
)

from moby.errors import IntegrityError
from moby.formats.entry import Entry, Kind
from moby.oci import blob, layers
from moby.oci.image import Image
from moby.oci.manifest import OCI_LAYER_GZIP, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store

NAME = "localhost/t:1"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def collect(store: Store, found: Image, **options: int) -> list[Entry]:
    """The entries with their bodies read, held to the promises of an entry stream."""
    seen: dict[str, Kind] = {}
    result = []
    for entry in layers.entries(store, found, origin="init[0]", max_entries=options.get("max_entries", 10**6)):
        above = entry.path.rpartition("/")[0]
        assert entry.path not in seen, f"{entry.path} comes twice"
        assert not above or seen[above] is Kind.DIRECTORY, f"{entry.path} has no directory"
        if entry.kind is Kind.HARDLINK:
            assert seen[entry.target] is Kind.FILE
        assert entry.origin == "init[0]"
        seen[entry.path] = entry.kind
        data = entry.data if isinstance(entry.data, bytes) else entry.data.read(entry.size + 1)
        assert len(data) == entry.size
        result.append(replace(entry, data=data))
    return result


def flat(store: Store, *stack: Layer) -> dict[str, str | bytes]:
    """Each path of the flattened layers with what it is, in order."""
    return {entry.path: shown(entry) for entry in collect(store, image(stack).save(store, NAME))}


def shown(entry: Entry) -> str | bytes:
    match entry.kind:
        case Kind.FILE:
            assert isinstance(entry.data, bytes)
            return entry.data
        case Kind.DIRECTORY:
            return f"{entry.mode:o}"
        case Kind.SYMLINK:
            return f"-> {entry.target}"
        case Kind.HARDLINK:
            return f"= {entry.target}"
        case _:
            return f"{entry.kind.name} {entry.major}:{entry.minor}"


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


# Hostile input. Each is refused, with the layer's digest and, where there is one, the entry's name.


def refused(store: Store, *tars: bytes, compression: str = "gzip", **options: int) -> str:
    saved = from_tars(tars, compression=compression).save(store, NAME)
    with pytest.raises(IntegrityError) as caught:
        collect(store, saved, **options)
    digests = [str(layer.digest) for layer in saved.layers]
    assert any(digest in str(caught.value) for digest in digests), str(caught.value)
    assert len(str(caught.value)) < 10_000
    return str(caught.value)


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/../evil", "a/.."])
def test_refuses_names_that_leave_the_tree(store: Store, name: str) -> None:
    assert "evil" in refused(store, tar({name: "x"})) or name == "a/.."


def test_an_absolute_name_stays_in_the_tree(store: Store) -> None:
    assert flat(store, {"/etc/passwd": "x"}) == {"etc": "755", "etc/passwd": b"x"}


@pytest.mark.parametrize("target", ["../../etc/shadow", "/../etc/shadow"])
def test_refuses_hard_links_that_leave_the_tree(store: Store, target: str) -> None:
    assert "'b'" in refused(store, tar({"b": hardlink(target)}))


@pytest.mark.parametrize("name", [".wh.", ".wh..", ".wh...", "a/.wh..", "a/.wh..."])
def test_refuses_whiteouts_of_a_directory_from_inside(store: Store, name: str) -> None:
    assert name in refused(store, tar({"a/b": "x"}), tar({name: ""}))


def test_refuses_names_with_nul(store: Store) -> None:
    assert "NUL" in refused(store, tar({"x": Node(pax={"path": "a\0b"})}))


def test_a_newline_in_a_name_is_data(store: Store) -> None:
    assert flat(store, {"a\nb": "x"}) == {"a\nb": b"x"}


def test_refuses_names_that_no_file_system_takes(store: Store) -> None:
    assert "longer than 255 bytes" in refused(store, tar({"d/" + "é" * 128: "x"}))


def test_refuses_more_entries_than_allowed(store: Store) -> None:
    many = {f"f{number}": "" for number in range(20)}
    assert "more than 10 entries" in refused(store, tar(many), max_entries=10)
    deep = tar({"/".join("d" * 30): ""})
    assert "more than 10 entries" in refused(store, deep, max_entries=10)
    halves = tar({f"a{number}": "" for number in range(8)}), tar({f"b{number}": "" for number in range(8)})
    assert "more than 10 entries" in refused(store, *halves, max_entries=10)


def test_refuses_names_that_fill_the_memory(store: Store) -> None:
    deep = "/".join("d" * 200 for _ in range(15))
    many = {f"s{number}": symlink(deep) for number in range(8)}
    assert "too long to be held" in refused(store, tar(many), max_entries=100)


def test_refuses_links_that_take_for_ever(store: Store) -> None:
    far = {f"l{number}": symlink("/".join([*("." * 1000), f"l{number + 1}"])) for number in range(30)}
    lower: dict[str, str | bytes | Node] = {**far, "l30/": ""}
    many = {f"l0/{side}/{number}": "" for number in range(100) for side in "ab"}
    assert "take too long" in refused(store, tar({**lower, **many}), max_entries=500)


def test_refuses_a_truncated_layer(store: Store) -> None:
    whole = tar({"a": "x" * 5000})
    assert "truncated" in refused(store, whole[:1500])


def test_refuses_a_layer_that_is_not_a_tar(store: Store) -> None:
    refused(store, b"<html>" * 500, compression="none")


def test_refuses_a_truncated_compressed_layer(store: Store) -> None:
    made = image([{"a": "x" * 5000}])
    packed = made.layers[0][:-9]
    layer = store.ingest(io.BytesIO(packed), media_type=OCI_LAYER_GZIP)
    saved = store.put_image(NAME, made.config, [layer], Platform.parse("amd64"))
    with pytest.raises(IntegrityError, match=str(layer.digest)):
        collect(store, saved)


def test_refuses_a_layer_that_unpacks_without_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "_ALWAYS_ALLOWED_BYTES", 1 << 16)
    assert "unpacks to more than" in refused(store, bytes(4 << 20), compression="zstd")


def test_refuses_a_layer_type_that_is_no_archive(store: Store) -> None:
    made = image([{"a": "1"}])
    layer = store.ingest(io.BytesIO(made.layers[0]), media_type="application/vnd.oci.image.layer.v1.tar+encrypted")
    saved = store.put_image(NAME, made.config, [layer], Platform.parse("amd64"))
    with pytest.raises(IntegrityError, match=r"layer of unknown type '.*encrypted'"):
        collect(store, saved)


def test_an_altered_layer_is_refused_before_any_entry_is_given(store: Store) -> None:
    saved = image([{"a": "1"}], compression="none").save(store, NAME)
    path = blob.path(store.root, saved.layers[0].digest)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match="does not match its digest"):
        next(layers.entries(store, saved))


# The same rules, written as slowly and plainly as possible: nested dictionaries changed entry by entry.

_names = st.sampled_from(["a", "b", "c"])
_paths = st.lists(_names, min_size=1, max_size=3).map("/".join)
_content = st.one_of(
    st.sampled_from(["1", "2"]),
    st.just(directory()),
    st.just(directory(0o700)),
)


@st.composite
def _whiteouts(draw: st.DrawFn) -> tuple[str, str]:
    above = draw(st.lists(_names, max_size=2))
    return "/".join([*above, draw(st.sampled_from([".wh.a", ".wh.b", ".wh..wh..opq"]))]), ""


_layers = st.lists(st.lists(st.tuples(_paths, _content) | _whiteouts(), max_size=6), min_size=1, max_size=4)


class Model:
    """Layers applied one by one to a dictionary from path to (layer, what it is)."""

    def __init__(self) -> None:
        self.tree: dict[str, tuple[int, str | bytes]] = {}

    def apply(self, number: int, layer: Sequence[tuple[str, str | Node]]) -> bool:
        """False when the layer is one that must be refused."""
        for path, content in layer:
            above, _, name = path.rpartition("/")
            if name == ".wh..wh..opq":
                self._drop(number, f"{above}/" if above else "")
            elif name.startswith(".wh."):
                hidden = path.replace(".wh.", "")
                self._drop(number, f"{hidden}/")
                self._drop_one(number, hidden)
            elif not self._put(number, path, content):
                return False
        return True

    def _drop(self, number: int, prefix: str) -> None:
        for path in sorted((path for path in self.tree if path.startswith(prefix)), reverse=True):
            self._drop_one(number, path)

    def _drop_one(self, number: int, path: str) -> None:
        found = self.tree.get(path)
        if found is None or found[0] == number:
            return
        if any(other.startswith(f"{path}/") for other in self.tree):
            self.tree[path] = (number, "755")
        else:
            del self.tree[path]

    def _put(self, number: int, path: str, content: str | Node) -> bool:
        parts = path.split("/")
        for end in range(1, len(parts)):
            above = "/".join(parts[:end])
            if above not in self.tree:
                self.tree[above] = (number, "755")
            elif isinstance(self.tree[above][1], bytes):
                return False
        if isinstance(content, str):
            for other in [each for each in self.tree if each.startswith(f"{path}/")]:
                del self.tree[other]
        self.tree[path] = (number, content.encode() if isinstance(content, str) else f"{content.mode:o}")
        return True


@settings(max_examples=150, deadline=None)
@given(_layers)
def test_any_layers_give_what_applying_them_one_by_one_gives(
    tmp_path_factory: pytest.TempPathFactory, stack: list[list[tuple[str, str | Node]]]
) -> None:
    store, model = Store(tmp_path_factory.mktemp("store")), Model()
    fine = all(model.apply(number, layer) for number, layer in enumerate(stack))
    if not fine:
        with pytest.raises(IntegrityError, match="not a directory"):
            flat(store, *stack)
        return
    assert flat(store, *stack) == {path: content for path, (_, content) in model.tree.items()}


def test_names_the_image_and_the_layer_in_messages(store: Store) -> None:
    saved = image([{"a/../../b": "x"}]).save(store, NAME)
    with pytest.raises(IntegrityError) as caught:
        collect(store, saved)
    assert caught.value.where.startswith(f"{Reference.parse(NAME)} layer {saved.layers[0].digest}")
