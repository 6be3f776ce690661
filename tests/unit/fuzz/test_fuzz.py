"""Broken inputs of four parsers: each gives a sound result or an error a person can read, soon, and nothing else.

The seeds are numbers that Hypothesis draws without chance, so every run has the same cases; ``long`` has 25 times as
many. A failure is repeated with ``broken(CORPUS, SEED)``.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from moby.config.load import parse
from moby.errors import ConfigError, IntegrityError
from moby.formats import cpio, tar
from moby.formats.entry import Entry
from moby.oci.manifest import ImageConfig, Index, Manifest, decode
from moby.oci.reference import Reference
from tests.support import mutations

CASES = 2_000
LONG = 50_000
MAX_S = 5.0


def read_tar(data: bytes) -> None:
    """What is read has clean names, and is the same when it was written and read again."""
    entries = list(_held(entry) for entry in tar.read(io.BytesIO(data), where="layer"))
    for entry in entries:
        parts = entry.path.split("/")
        assert parts and not {"", ".", ".."} & set(parts), entry.path
        assert "\0" not in entry.path + entry.target
        assert 0 <= entry.mode <= 0o7777
        assert len(entry.data if isinstance(entry.data, bytes) else b"") == entry.size
    out = io.BytesIO()
    tar.write(entries, out)
    assert list(tar.read(io.BytesIO(out.getvalue()))) == entries
    # A hard link whose file is not in the archive cannot be written.
    with contextlib.suppress(IntegrityError):
        cpio.write(entries, io.BytesIO())


def _held(entry: Entry) -> Entry:
    return entry if isinstance(entry.data, bytes) else replace(entry, data=entry.data.read(entry.size))


def read_manifest(data: bytes) -> None:
    """What is read is of the kind it says, within bounds, and survives being written."""
    try:
        ImageConfig.decode(data, where="config").encode()
    except IntegrityError as error:
        assert error.where == "config"
    found = decode(data, "", where="manifest")
    if isinstance(found, Manifest):
        assert decode(found.encode(), "") == found
        assert all(0 <= layer.size < 1 << 63 for layer in found.layers)
    else:
        assert isinstance(found, Index)
        assert decode(found.encode(), "") == found


def read_reference(data: bytes) -> None:
    """What is read means the same when it is written, and names no path outside."""
    found = Reference.parse(data.decode("utf-8", "replace"))
    assert Reference.parse(str(found)) == found
    if getattr(found, "transport", None) is None:
        assert ".." not in found.repository.split("/")
        assert str(found).isascii()
        assert not set(str(found)) & set(" \n\0%?#\\")


def read_yaml(data: bytes) -> None:
    """What is read is a configuration; what is not has places."""
    try:
        parse(data, file="a.yml", templates=lambda name, directory: f"localhost/moby/{name}:1")
    except ConfigError as error:
        for fault in (error, *error.others):
            assert fault.where.startswith("a.yml"), str(fault)
            assert len(str(fault)) < 3000
        raise


TARGETS: Mapping[str, tuple[Callable[[bytes], None], list[bytes], type[Exception]]] = {
    "tar": (read_tar, mutations.tars(), IntegrityError),
    "manifest": (read_manifest, mutations.manifests(), IntegrityError),
    "reference": (read_reference, mutations.references(), ConfigError),
    "yaml": (read_yaml, mutations.yaml_files(), ConfigError),
}


def attempt(name: str, seed: int) -> None:
    target, corpus, error = TARGETS[name]
    data = mutations.broken(corpus, seed)
    if name == "tar" and seed % 4:
        data = mutations.summed(data)
    begin = time.monotonic()
    try:
        target(data)
    except error as caught:
        said = str(caught)
        assert said
        assert "Traceback" not in said
    assert time.monotonic() - begin < MAX_S


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_itself_is_read(name: str) -> None:
    target, corpus, error = TARGETS[name]
    assert len(corpus) >= 3
    good = 0
    for data in corpus:
        try:
            target(data)
        except error:
            continue
        good += 1
    assert good > len(corpus) / 2


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("count", [CASES, pytest.param(LONG, marks=pytest.mark.long)])
def test_broken_input_gives_a_result_or_a_reason(name: str, count: int) -> None:
    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 2**48))
    def run(seed: int) -> None:
        attempt(name, seed)

    run()
