from __future__ import annotations

import json
from collections.abc import Callable

from moby.config.load import parse
from moby.metadata import dry_run, metadata_json, metadata_yaml
from tests.support.images import VECTORS
from tests.unit.test_runtime import EVERY_KEY

REST = """
kernel: {image: linuxkit/kernel:6.6, cmdline: "console=ttyS0 console=tty0", tar: "", ucode: intel-ucode.cpio}
init: [linuxkit/init:v1, a]
onboot: [{name: a, image: "b/c:1@sha256:%s"}]
volumes:
  - {name: v, image: alpine, readonly: true, format: oci, platforms: [linux/amd64]}
  - {name: w, readonly: false}
files:
  - {path: a, contents: "one\\n two\\n", mode: "0600", uid: s, gid: 7}
  - {path: b, source: "~/x", optional: true}
  - {path: c, symlink: "@pkg:x"}
trust: {org: [linuxkit]}
""" % ("12" * 32)
CONFIG = parse(REST + EVERY_KEY)


def test_every_key_in_all_forms(golden: Callable[[str, str], None]) -> None:
    golden("config/dry-run.yml", dry_run(CONFIG))
    golden("config/metadata.yml", metadata_yaml(CONFIG).decode())
    golden("config/metadata.json", metadata_json(CONFIG).decode())


def test_metadata_equals_the_originals() -> None:
    config = parse((VECTORS / "v06-files" / "v06-files.yml").read_bytes())
    original = json.loads((VECTORS / "v06-files" / "contents.json").read_text())
    assert metadata_yaml(config).decode() == original["meta/y"]
    assert metadata_json(config).decode() == original["meta/j"]


def test_names_are_expanded_in_metadata_but_not_in_the_dry_run_and_not_for_volumes() -> None:
    config = parse("kernel: {image: k}\ninit: [a/b]\nservices: [{name: s, image: c}]\nvolumes: [{name: v, image: d}]")
    assert dry_run(config).splitlines()[1].strip() == "image: k"
    text = metadata_yaml(config).decode()
    assert "image: docker.io/library/k\n" in text
    assert "- docker.io/a/b\n" in text
    assert "image: docker.io/library/c\n" in text
    assert "image: d\n" in text


def test_an_empty_configuration_shows_all_sections() -> None:
    sections = ("init", "onboot", "onshutdown", "services", "files", "volumes")
    rest = "".join(f"{name}: []\n" for name in sections)
    assert metadata_yaml(parse("{}")).decode() == 'kernel:\n  image: ""\n' + rest
    assert dry_run(parse("init: []")) == 'kernel:\n    image: ""\n' + rest
    assert json.loads(metadata_json(parse("files: []"))) == {"kernel": {"image": ""}, **dict.fromkeys(sections)}


def test_what_is_printed_is_a_configuration_again() -> None:
    """Only resources don't come back: the original shows members that its own schema refuses."""
    without = CONFIG.model_copy(
        update={
            "services": tuple(
                each.model_copy(update={"resources": None, "mounts": ()}) for each in CONFIG.services or ()
            )
        }
    )
    again = parse(dry_run(without).replace("hostid", "hostID").replace("containerid", "containerID"))
    assert metadata_json(again) == metadata_json(without)


def test_empty_lists_are_shown_where_they_say_something() -> None:
    config = parse("volumes: [{name: v, platforms: []}]\nservices: [{name: s, image: x, binds: []}]")
    assert metadata_yaml(config).decode().endswith("  binds: []\nfiles: []\nvolumes:\n- name: v\n")
    assert json.loads(metadata_json(config))["volumes"] == [{"name": "v"}]


def test_maps_are_sorted() -> None:
    config = parse("services: [{name: s, image: x, sysctl: {b10: x, b9: x, a: x}}]")
    assert "a: x\n    b9: x\n    b10: x\n" in metadata_yaml(config).decode()
    assert list(json.loads(metadata_json(config))["services"][0]["sysctl"]) == ["a", "b10", "b9"]
