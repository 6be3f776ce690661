"""What is left of a document with faults: enough to look at every image it names."""

from __future__ import annotations

from moby.config.legacy import translate
from moby.config.load import assemble
from moby.config.model import Config
from moby.config.salvage import UNKNOWN
from moby.config.source import read


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
        *(("x", "s"), ("unnamed", ""), ("unnamed", ""), ("unnamed", ""), ("unnamed", ""))
    ]
    assert (config.services or ())[0].binds == ("w:/x",)


def test_of_a_list_nothing_is_left() -> None:
    assert left("[a, b]").model_dump(exclude_none=True) == {}


def test_a_file_of_2017_is_mended_as_it_is_translated() -> None:
    config = left("init: i\nsystem: [{name: a, image: x, binds: [y]}]\ndaemon: [{name: b, image: z, net_mode: host}]\n")
    assert (config.init, images(config)) == (("i",), ["x", "z"])
    assert all(entry.as_docker for entry in (*(config.onboot or ()), *(config.services or ())))
