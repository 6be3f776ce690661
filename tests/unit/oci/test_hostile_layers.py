"""Layers that mean harm, kind by kind. What is refused names the layer and the entry; the store is whole afterwards."""

from __future__ import annotations

import gzip
import io
import json
import subprocess
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import zstandard

from moby.errors import IntegrityError
from moby.formats import cpio, stream
from moby.formats import tar as codec
from moby.oci import blob
from moby.oci.digest import Digest
from moby.oci.manifest import OCI_LAYER_GZIP, OCI_LAYER_ZSTD, Platform
from moby.oci.store import Store
from tests.support import hostile
from tests.support.flat import NAME, collect, flat
from tests.support.hostile import header
from tests.support.images import Layer, Node, device, from_tars, hardlink, image, symlink, tar

END = bytes(1024)
# Far more than any of these needs, far less than what they ask for.
MAX_BYTES = 24 << 20
MAX_S = 60
ROOT = Path(__file__).parents[3]


def whole(store: Store) -> None:
    """Every file of the store is what its name says, and nothing else is there."""
    for path in store.root.rglob("*"):
        if path.is_file() and path.parent.name == "sha256":
            assert Digest.of(path.read_bytes()).hex == path.name
    assert list((store.root / "ingest").iterdir()) == []
    json.loads((store.root / "index.json").read_bytes())
    assert flat(Store(store.root), {"good": "1"}) == {"good": b"1"}


def refused(store: Store, *tars: bytes, entry: str | None, compression: str = "none") -> str:
    """The message, after the store was looked at; ``entry`` is the entry it must name."""
    saved = from_tars(tars, compression=compression).save(store, NAME)
    tracemalloc.start()
    begin = time.process_time()
    with pytest.raises(IntegrityError) as caught:
        collect(store, saved)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MAX_BYTES
    assert time.process_time() - begin < MAX_S
    said = str(caught.value)
    assert any(str(layer.digest) in said for layer in saved.layers), said
    assert entry is None or stream.shown(entry) in said, said
    assert "\0" not in said
    assert "\n" not in said
    assert len(said) < 1000
    whole(store)
    return said


def damaged(block: bytes, at: int, data: bytes) -> bytes:
    """A header with other bytes in it and a checksum that fits."""
    changed = bytearray(block)
    changed[at : at + len(data)] = data
    changed[148:156] = b" " * 8
    changed[148:156] = b"%06o\0 " % sum(changed[:512])
    return bytes(changed)


def base256(value: int, width: int) -> bytes:
    return (value | 1 << (8 * width - 1)).to_bytes(width, "big")


def pax(records: bytes) -> bytes:
    return header("p", len(records), tarfile.XHDTYPE) + records + bytes(-len(records) % 512)


def record(key: str, value: bytes) -> bytes:
    body = b" " + key.encode() + b"=" + value + b"\n"
    length = len(body) + len(str(len(body)))
    length += len(str(length)) - len(str(len(body)))
    return b"%d" % length + body


ESCAPES: Mapping[str, tuple[list[bytes], str]] = {
    "up": ([tar({"../evil": "x"})], "../evil"),
    "up from inside": ([tar({"a/../../evil": "x"})], "a/../../evil"),
    "absolute and up": ([tar({"/../evil": "x"})], "/../evil"),
    "up in a pax name": ([pax(record("path", b"../evil")) + header("a") + END], "../evil"),
    "up in a prefix": ([damaged(header("evil"), 345, b"..") + END], "../evil"),
    "hard link up": ([tar({"l": hardlink("../../etc/shadow")})], "l"),
    "hard link to the host": ([tar({"l": hardlink("/etc/shadow")})], "l"),
    "hard link through an earlier layer's link": (
        [tar({"out": symlink("/../../..")}), tar({"l": hardlink("out/etc/shadow")})],
        "l",
    ),
    "hard link in a pax record": ([pax(record("linkpath", b"a/../../b")) + header("l", kind=b"1") + END], "l"),
    "whiteout of the directory above": ([tar({"a/b": "x"}), tar({"a/.wh...": ""})], "a/.wh..."),
}

SHAPES: Mapping[str, tuple[list[bytes], str | None]] = {
    "nul in a pax name": ([pax(record("path", b"a\0b")) + header("a") + END], "a\0b"),
    "nul in a link": ([pax(record("linkpath", b"a\0b")) + header("l", kind=b"2") + END], "l"),
    "no name": ([damaged(header("a"), 0, bytes(1)) + END], None),
    "name of 4 KiB and more": ([pax(record("path", b"n/" * 3000 + b"n")) + header("a") + END], None),
    "name part of 256 bytes": ([tar({"d/" + "x" * 256: ""})], "d/" + "x" * 256),
    "device number in letters": ([damaged(header("d", kind=b"3"), 329, b"one\0") + END], "d"),
    "device number out of range": ([damaged(header("d", kind=b"4"), 329, base256(1 << 50, 8)) + END], "d"),
    "device number below zero": ([damaged(header("d", kind=b"3"), 337, b"\xff" * 8) + END], "d"),
    "device below a device": ([tar({"null": device(1, 3), "null/sub": device(1, 3)})], "null/sub"),
    "mode in letters": ([damaged(header("m"), 100, b"rwxr-x\0") + END], "m"),
    "time of another age": ([damaged(header("t"), 136, base256(1 << 80, 12)) + END], "t"),
    "size below zero": ([damaged(header("s"), 124, b"\xff" * 12) + END], "s"),
    "5 GiB that are not there": ([header("big", 5 << 30) + b"x" * 5000], "big"),
    "5 GiB by a pax record": ([pax(record("size", b"%d" % (5 << 30))) + header("big") + END], "big"),
    "8 EiB": ([damaged(header("big"), 124, base256(1 << 63, 12)) + END], "big"),
    "extended header of 5 GiB": ([header("p", 5 << 30, tarfile.XHDTYPE) + b"x" * 600], None),
    "extended header of 2 MiB": ([pax(record("comment", b"c" * (2 << 20))) + header("a") + END], None),
    "many extended headers": ([pax(record("comment", b"c" * 400)) * 1200 + header("a") + END], None),
    "many GNU names": ([(header("n", 400, b"L") + b"x" * 400 + bytes(112)) * 1200 + header("a") + END], None),
    "GNU name of 5 GiB": ([header("n", 5 << 30, b"L")], None),
    "pax record that is longer than its header": ([pax(b"99 path=x\n") + header("a") + END], None),
    "pax record of length nought": ([pax(b"0 path=x\n") + header("a") + END], None),
    "sparse file of GNU tar": ([header("s", kind=tarfile.GNUTYPE_SPARSE) + END], "s"),
    "sparse file by pax records": ([pax(record("GNU.sparse.realsize", b"99")) + header("s") + END], None),
    "several volumes": ([header("v", kind=b"M") + END], "v"),
    "no archive": ([b"<html>" * 2000], None),
    "cut in a header": ([header("a")[:300]], None),
    "cut in a file": ([header("a", 5000) + b"x" * 1000], "a"),
    "cut in an extended header": ([pax(record("path", b"long"))[:700]], None),
}


@pytest.mark.parametrize("case", ESCAPES)
def test_what_leaves_the_tree_is_refused(store: Store, case: str) -> None:
    tars, entry = ESCAPES[case]
    refused(store, *tars, entry=entry)


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
@pytest.mark.parametrize("case", SHAPES)
def test_what_is_malformed_is_refused(store: Store, case: str, compression: str) -> None:
    tars, entry = SHAPES[case]
    refused(store, *tars, entry=entry, compression=compression)


@pytest.mark.parametrize(
    ("stack", "tree"),
    [
        ([{"/etc/x": "1", "//y": "2", "./z": "3"}], {"etc": "755", "etc/x": b"1", "y": b"2", "z": b"3"}),
        ([{"l": symlink("/etc"), "l/x": "1"}], {"l": "-> /etc", "etc": "755", "etc/x": b"1"}),
        ([{"l": symlink("../../../tmp")}, {"l/x": "1"}], {"l": "-> ../../../tmp", "tmp": "755", "tmp/x": b"1"}),
        ([{"a/l": symlink("/..")}, {"a/l/a/x": "1"}], {"a": "755", "a/l": "-> /..", "a/x": b"1"}),
        ([{"d": device(8, 0), "n": device(1, 3)}], {"d": "CHAR 8:0", "n": "CHAR 1:3"}),
        ([{"a\nb": "1", "c\x1b[2J": "2"}], {"a\nb": b"1", "c\x1b[2J": b"2"}),
        ([{"..a": "1", "a..": "2", "...": "3"}], {"..a": b"1", "a..": b"2", "...": b"3"}),
    ],
)  # fmt: skip
def test_what_only_looks_dangerous_stays_inside_as_data(
    store: Store, stack: list[Layer], tree: dict[str, str | bytes]
) -> None:
    assert flat(store, *stack) == tree


def estargz() -> bytes:
    """A layer as eStargz writes it: each member a gzip stream of its own, a table of contents, a footer."""
    entries = [header("a", 2) + b"1\n" + bytes(510), header("d", kind=b"5"), header(".no.prefetch.landmark", 1)]
    toc = json.dumps({"version": 1, "entries": [{"name": "a", "type": "reg", "size": 2}]}).encode()
    entries[2] += b"\x0f" + bytes(511)
    entries.append(header("stargz.index.json", len(toc)) + toc + bytes(-len(toc) % 512) + END)
    footer = bytes.fromhex("1f8b0804000000000000 1a00 53470600".replace(" ", "")) + b"0" * 22
    # An empty gzip member with an extra field; the real one says where the table is.
    footer = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1a\0SG\x16\0" + b"%016xSTARGZ" % 0 + b"\x01\0\0\xff\xff" + bytes(8)
    return b"".join(gzip.compress(each, mtime=0) for each in entries) + footer


def chunked() -> bytes:
    """A layer as zstd:chunked writes it: a frame for each piece, skippable frames between and after them."""
    pieces = [header("a", 2) + b"1\n" + bytes(510), header("d", kind=b"5"), END]
    skip = b"\x50\x2a\x4d\x18" + (20).to_bytes(4, "little") + b"table of contents..."
    return b"".join(zstandard.compress(each) + skip for each in pieces)


@pytest.mark.parametrize(
    ("packed", "media_type", "names"),
    [
        (estargz, OCI_LAYER_GZIP, ["a", "d", ".no.prefetch.landmark", "stargz.index.json"]),
        (chunked, OCI_LAYER_ZSTD, ["a", "d"]),
        (lambda: zstandard.compress(header("a") + END), OCI_LAYER_GZIP, ["a"]),
    ],
    ids=["estargz", "zstd:chunked", "zstd called gzip"],
)
def test_lazily_pulled_and_zstd_layers_are_read_as_any_other(
    store: Store, packed: Callable[[], bytes], media_type: str, names: list[str]
) -> None:
    layer = store.ingest(io.BytesIO(packed()), media_type=media_type)
    saved = store.put_image(NAME, image([]).config, [layer], Platform.parse("amd64"))
    assert [entry.path for entry in collect(store, saved)] == names


@pytest.mark.parametrize("compression", ["gzip", "zstd", "xz", "bzip2"])
@pytest.mark.parametrize("left", [0.1, 0.5, 0.9, 0.999])
def test_a_layer_that_ends_early_is_refused(store: Store, compression: str, left: float) -> None:
    made = image([{f"f{number}": "x" * number for number in range(200)}], compression=compression)
    packed = made.layers[0][: int(len(made.layers[0]) * left)]
    layer = store.ingest(io.BytesIO(packed), media_type=OCI_LAYER_GZIP)
    saved = store.put_image(NAME, made.config, [layer], Platform.parse("amd64"))
    with pytest.raises(IntegrityError, match=str(layer.digest)):
        collect(store, saved)
    whole(store)


def test_a_damaged_stream_is_blamed_on_the_entry_it_cuts(store: Store) -> None:
    packed = bytearray(gzip.compress(header("first", 600_000) + b"x" * 600_064 + header("b") + END, mtime=0))
    layer = store.ingest(io.BytesIO(packed[:-200]), media_type=OCI_LAYER_GZIP)
    saved = store.put_image(NAME, image([]).config, [layer], Platform.parse("amd64"))
    with pytest.raises(IntegrityError, match="'first': the compressed stream is broken"):
        collect(store, saved)


@pytest.mark.parametrize("change", [b"", b"x", b"longer than before " * 9000])
def test_a_blob_that_is_not_what_its_name_says_gives_no_entry(store: Store, change: bytes) -> None:
    saved = image([{"a": "1" * 9000}], compression="none").save(store, NAME)
    path = blob.path(store.root, saved.layers[0].digest)
    data = path.read_bytes()
    path.write_bytes(change + data[len(change) :] if change else data[:-1])
    with pytest.raises(IntegrityError) as caught:
        collect(store, saved)
    assert str(saved.layers[0].digest) in str(caught.value) or saved.layers[0].digest.hex in str(caught.value)


def test_long_names_are_shortened_in_messages(store: Store) -> None:
    said = refused(store, tar({"d/" * 1500 + "x" * 300: ""}), entry=None)
    assert "(3300 characters)" in said


def test_links_to_links_of_other_layers_end(store: Store) -> None:
    ring = {f"l{number}": symlink(f"l{(number + 1) % 50}/x") for number in range(50)}
    refused(store, tar(ring), tar({"l0/y": "1"}), entry="l0/y")


# Those that want all of the machine; each is flattened by a process of its own.


def judged(folder: Path, case: str, packing: str) -> tuple[str, int, float]:
    """What a case is refused for, the process's peak in MiB and the seconds it took."""
    store = Store(folder)
    saved = hostile.save(store, case, packing)
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.hostile", str(folder)], cwd=ROOT, capture_output=True, timeout=300
    )
    assert done.returncode == 0, done.stderr.decode()
    found = json.loads(done.stdout)
    assert not found["said"] or str(saved.layers[0].digest) in found["said"]
    whole(store)
    return found["said"], found["peak_kibibytes"] >> 10, found["seconds"]


@pytest.mark.shows("Layers of any number of entries are read or refused in 120 MiB of memory", by="fault")
@pytest.mark.parametrize(
    ("case", "packing", "message"),
    [
        ("bomb", "gzip", "'bomb': layer unpacks to more than 4294967296 bytes"),
        ("bomb", "zstd", "'bomb': layer unpacks to more than 4294967296 bytes"),
        ("headers", "zstd", "with those before it, is larger than 1048576"),
        ("same-entry", "zstd", "'f': the archive has more than 500000 entries"),
        ("folders", "zstd", "too much to be held in memory"),
        ("linked", "zstd", "too much to be held in memory"),
        ("directories", "zstd", "too much to be held in memory"),
        pytest.param("entries", "gzip", "too much to be held in memory", marks=pytest.mark.long),
        pytest.param("files", "zstd", "", marks=pytest.mark.long),
        pytest.param("symbolic", "zstd", "too much to be held in memory", marks=pytest.mark.long),
        pytest.param("moved", "zstd", "too much to be held in memory", marks=pytest.mark.long),
        pytest.param("wide", "zstd", "too much to be held in memory", marks=pytest.mark.long),
        pytest.param("deep", "gzip", "the image's names take too long to follow", marks=pytest.mark.long),
    ],
)
def test_bombs_cost_bounded_memory_and_time(tmp_path: Path, case: str, packing: str, message: str) -> None:
    said, peak, seconds = judged(tmp_path, case, packing)
    assert message in said if message else not said
    assert peak < 120
    assert seconds < 60


def test_the_entries_of_a_hostile_layer_can_be_written_by_every_codec() -> None:
    """What the reader lets through fits the fields of the archives that are made of it."""
    extremes = {
        "d": Node(type=tarfile.CHRTYPE, major=4095, minor=0xFFFFF),
        "t": Node(mtime=-1, uid=2**32 - 1, gid=2**32 - 1, mode=0o7777),
        "x": Node(pax={"SCHILY.xattr.user.a": "b" * 1000, "mtime": "-99999999999.5"}),
    }
    data, again = tar(extremes), io.BytesIO()
    codec.write(codec.read(io.BytesIO(data)), again)
    assert list(codec.read(io.BytesIO(again.getvalue()))) == list(codec.read(io.BytesIO(data)))
    cpio.write(codec.read(io.BytesIO(data)), io.BytesIO())
