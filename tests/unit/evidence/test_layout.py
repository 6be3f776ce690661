"""The files of an image layout by what they are for, however hostile the layout is."""

from __future__ import annotations

import io
import json
import time

from moby.evidence import layout
from moby.evidence.look import Looker
from moby.formats import tar
from moby.formats.entry import Entry, file

MARKER = file("oci-layout", b"{}")


def names(entries: list[Entry]) -> dict[str, str]:
    out = io.BytesIO()
    tar.write([MARKER, *entries], out)
    with Looker() as looker:
        return dict(layout.names(looker.look(io.BytesIO(out.getvalue()), "x")))


def blob(name: str) -> dict[str, str]:
    return {"digest": f"sha256:{name}"}


def document(path: str, padding: int = 0, **keys: object) -> Entry:
    return file(path, json.dumps({"padding": "x" * padding, **keys}).encode())


def test_blobs_are_named_by_what_they_are_for() -> None:
    found = names(
        [
            document("blobs/sha256/m", config=blob("c"), layers=[blob("a"), blob("b")]),
            document("index.json", manifests=[blob("m")]),
        ]
    )
    assert found == {
        "blobs/sha256/m": "manifest",
        "blobs/sha256/c": "config",
        "blobs/sha256/a": "layer 1",
        "blobs/sha256/b": "layer 2",
    }


def test_only_so_much_of_a_layout_is_kept() -> None:
    index = document("index.json", manifests=[blob(f"m{number}") for number in range(40)])
    manifests = [document(f"blobs/sha256/m{number}", 1 << 19, layers=[blob(f"l{number}")]) for number in range(40)]
    found = names([index, *manifests])
    assert sum(name.endswith("manifest") for name in found.values()) == 40
    assert sum(name.endswith("layer 1") for name in found.values()) == 31


def test_what_is_no_document_of_a_layout_takes_nothing_of_that() -> None:
    others = [document(f"other{number}", 1 << 19) for number in range(40)]
    found = names([*others, document("index.json", manifests=[blob("m")])])
    assert found["blobs/sha256/m"] == "manifest"


def test_an_index_that_names_itself_again_and_again_is_told_once() -> None:
    start = time.monotonic()
    itself = [blob("i")] * 60
    found = names([document("blobs/sha256/i", manifests=itself), document("index.json", manifests=itself)])
    assert found["blobs/sha256/i"] == "image 1: index"
    assert time.monotonic() - start < 10
