"""Layers that mean harm. Each is refused, with the layer's digest and the entry's name."""

from __future__ import annotations

import io

import pytest

from moby.errors import IntegrityError
from moby.oci import blob, layers
from moby.oci.manifest import OCI_LAYER_GZIP, Platform
from moby.oci.reference import Reference
from moby.oci.store import Store
from tests.support.flat import NAME, collect, flat
from tests.support.images import Node, from_tars, hardlink, image, symlink, tar


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
    assert "too much to be held" in refused(store, tar(many), memory_bytes=20_000)


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


def test_names_the_image_and_the_layer_in_messages(store: Store) -> None:
    saved = image([{"a/../../b": "x"}]).save(store, NAME)
    with pytest.raises(IntegrityError) as caught:
        collect(store, saved)
    assert caught.value.where.startswith(f"{Reference.parse(NAME)} layer {saved.layers[0].digest}")
