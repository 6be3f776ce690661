"""What is left of a document with faults: enough to look at every image it names."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config.legacy import translate
from moby.config.load import assemble
from moby.config.model import Config
from moby.config.places import Path
from moby.config.salvage import UNKNOWN
from moby.config.source import NULL, read
from moby.errors import ConfigError
from moby.plan import plan
from tests.support.plans import Shelf


def left(text: str) -> Config:
    draft = assemble([translate(read(text, file="f.yml"))], [], files=["f.yml"])
    assert draft.faults
    return draft.config


def images(config: Config) -> list[str]:
    return [entry.image for section in ("onboot", "services") for entry in getattr(config, section) or ()]


def test_an_entry_loses_the_wrong_key_and_keeps_the_others() -> None:
    (entry,) = left("services: [{name: s, image: x, binds: [a], uid: 5, capabilites: [X]}]").services or ()
    assert (entry.name, entry.image, entry.binds, entry.uid) == ("s", "x", None, 5)


def test_what_is_only_wrong_beside_others_is_left_out_too() -> None:
    config = left("services: [{name: s, image: x, binds: ['v:/x'], uid: nobody}, {name: s, image: y}]")
    first, second = config.services or ()
    assert (first.binds, first.uid, second.name, second.image) == (None, None, "s", "y")


def test_numbers_and_names_of_entries_stay() -> None:
    config = left("onboot: [5, {name: a/b, image: x}, {name: c}, {image: y}, {name: d, image: 'a b'}]")
    assert images(config) == [UNKNOWN, "x", UNKNOWN, "y", UNKNOWN]
    assert [entry.name for entry in config.onboot or ()] == ["unnamed", "a/b", "c", "unnamed", "d"]


def test_a_section_that_is_no_list_is_left_out() -> None:
    config = left("services: {web: {image: x}}\ninit: runc\nonboot: [{name: a, image: x}]\nfiles: 5\n")
    assert (config.services, config.files, images(config)) == (None, None, ["x"])


def test_kernel_and_volumes_and_files_are_mended_likewise() -> None:
    config = left(
        "kernel: {image: k, cmdlin: x, cmdline: y}\n"
        "volumes: [{name: V, image: v}, {name: w, image: 'a b'}]\n"
        "files: [{path: x, source: s, mode: rw}, {path: y, contents: 5}, {path: .., contents: c}, {path: z}, 7]\n"
        "services: [{name: s, image: x, binds: ['w:/x']}]\n"
    )
    assert config.kernel
    assert (config.kernel.image, config.kernel.cmdline) == ("k", "y")
    assert [(each.name, each.image) for each in config.volumes or ()] == [("V", "v"), ("w", "")]
    assert [(each.path, each.source) for each in config.files or ()] == [
        *(("x", "s"), ("y", ""), ("unnamed", ""), ("z", ""), ("unnamed", ""))
    ]
    assert (config.services or ())[0].binds == ("w:/x",)


GOOD = """
kernel: {image: k, cmdline: c}
init: [i]
onboot: [{name: a, image: x, binds: ['v:/v'], uid: b}]
services: [{name: b, image: y, capabilities: [CAP_KILL], mounts: [{type: bind, source: w, destination: /w}], gid: a}]
files: [{path: f, contents: c, uid: a}, {path: g, source: /dev/null/x, optional: true, gid: b}]
volumes: [{name: v}, {name: w, image: z}]
trust: {image: [x]}
"""
PARTS = [path for path in read(GOOD, file="f.yml").places.values if path]


@given(st.sets(st.sampled_from(PARTS), min_size=1, max_size=3))
def test_what_is_wrong_makes_nothing_else_wrong(broken: set[Path]) -> None:
    document = read(GOOD, file="f.yml")
    data = document.data
    for path in sorted(broken, key=repr):
        data = spoilt(data, path)
    draft = assemble([translate(replace(document, data=data))], [], files=["f.yml"])
    with pytest.raises(ConfigError) as caught:
        plan(draft.config, Shelf(), architecture="amd64", known=draft.faults, order=draft.files)
    said = {each.where: each.what for each in caught.value.each}
    # What is declared in a broken place may be missed elsewhere; nothing else may be said of what is whole.
    missed = ("cannot find id", "is not declared", "missing key")
    places = {document.places.where(path) for path in broken}
    rest = [what for where, what in said.items() if where not in places]
    assert [what for what in rest if not any(word in what for word in missed)] == []


def spoilt(data: object, path: Path) -> object:
    """``data`` with nothing at ``path``, which no key accepts."""
    if not path:
        return NULL
    first, *rest = path
    if isinstance(data, dict):
        return {key: spoilt(value, tuple(rest)) if key == first else value for key, value in data.items()}
    if isinstance(data, tuple):
        return tuple(spoilt(value, tuple(rest)) if index == first else value for index, value in enumerate(data))
    return data


def test_of_a_list_nothing_is_left() -> None:
    assert left("[a, b]").model_dump(exclude_none=True) == {}


def test_a_file_of_2017_is_mended_as_it_is_translated() -> None:
    config = left("init: i\nsystem: [{name: a, image: x, binds: [y]}]\ndaemon: [{name: b, image: z, net_mode: host}]\n")
    assert (config.init, images(config)) == (("i",), ["x", "z"])
    assert all(entry.as_docker for entry in (*(config.onboot or ()), *(config.services or ())))
