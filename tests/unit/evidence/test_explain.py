"""Where a path and a setting come from, on images made by code."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from moby.cli import explain as command
from moby.cli.main import main
from moby.config.load import parse
from moby.config.model import Config
from moby.errors import ConfigError
from moby.evidence import explain
from moby.evidence.trace import trace
from moby.oci.resolve import ImageSource
from moby.oci.store import Store
from moby.plan import Plan, plan
from tests.support.images import Node, directory, hardlink, image, symlink, tar

TEXT = """\
kernel:
  image: k
  cmdline: console=ttyS0
init: [one, two]
onboot:
  - name: same
    image: web
services:
  - name: web
    image: web
    capabilities.add: [CAP_KILL]
    env: [A=b]
    runtime:
      mkdir: [/a]
  - name: same
    image: small
    readonly: true
volumes:
  - name: v
    image: small
files:
  - path: etc/motd
    contents: from the file
    mode: "0640"
  - path: etc/new/deep
    contents: x
"""
LABEL = {"capabilities": ["CAP_CHOWN"], "binds": ["/x:/y"], "runtime": {"cgroups": ["c"]}}
IMAGES = {
    "k": image([{"kernel": "KERNEL", "kernel.tar": tar({"lib/modules/1/a.ko": "mod"})}]),
    "one": image([{"usr/bin/": directory(), "bin": symlink("usr/bin"), "usr/bin/tool": "one", "etc/motd": "one"}]),
    "two": image([{"bin/tool": Node(data=b"two!", mode=0o755, uid=3, gid=4)}]),
    "web": image(
        [
            {"srv/": directory(0o700), "srv/a": "old", "srv/b": "gone", "srv/c": "first"},
            {"srv/": directory(0o711, uid=7), "srv/a": Node(data=b"newer", mode=0o600), "srv/.wh.b": ""},
            {"srv/link": hardlink("srv/a"), "etc/hosts": "own", "srv/c": "last"},
        ],
        {"Cmd": ["/web"], "Labels": {"org.mobyproject.config": json.dumps(LABEL)}},
    ),
    "small": image([{"x": "x"}]),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Config, Plan, Store]:
    store = Store(tmp_path_factory.mktemp("explain") / "store")
    for name, each in IMAGES.items():
        each.save(store, f"docker.io/library/{name}")
    config = parse(TEXT, file="f.yml")
    return config, plan(config, ImageSource(store, None), architecture="amd64"), store


def text(made: tuple[Config, Plan, Store], path: str) -> str:
    return "\n".join(command.path_lines(explain.path(*made, path)))


PATHS = (
    "boot/kernel",
    "/boot/cmdline",
    "lib/modules/1/a.ko",
    "bin/tool",
    "usr/bin/tool",
    "etc/motd",
    "etc/new",
    "etc/hosts",
    "web:srv/a",
    "web:/srv/b",
    "web:srv/c",
    "web:srv",
    "web:srv/link",
    "web:etc/hosts",
    "containers/services/web/config.json",
    "containers/services/same/rootfs/x",
    "containers/volumes/v/lower/x",
    "containers/onboot/000-same/lower/srv",
    "proc",
    "deep",
    "wab",
)


def test_where_paths_come_from(made: tuple[Config, Plan, Store], golden: Callable[[str, str], None]) -> None:
    shown = []
    for path in PATHS:
        try:
            shown.append(f"$ explain f.yml {path}\n{text(made, path)}\n")
        except ConfigError as error:
            shown.append(f"$ explain f.yml {path}\n{error}\n")
    golden("evidence/paths.txt", "\n".join(shown))


def test_where_settings_come_from(made: tuple[Config, Plan, Store], golden: Callable[[str, str], None]) -> None:
    found = explain.containers(made[0], made[1], "web")
    golden("evidence/container.txt", "\n".join(line for each in found for line in command.container_lines(each)) + "\n")


@pytest.mark.parametrize(
    ("settings", "last"),
    [
        ({"uid": 0, "devices": ()}, ["  by default: uid: 0", "  not set: devices"]),
        ({"uid": 0}, ["  by default: uid: 0"]),
        ({"devices": ()}, ["  not set: devices"]),
        ({}, []),
    ],
)
def test_lines_of_defaults_are_there_when_they_say_something(
    settings: dict[str, object], last: list[str], made: tuple[Config, Plan, Store]
) -> None:
    (facts,) = explain.containers(made[0], made[1], "web")
    told = tuple(explain.Setting(key=key, value=value, origins=("default",)) for key, value in settings.items())
    assert list(command.container_lines(replace(facts, settings=told)))[4:] == last


def test_a_name_used_twice_is_explained_twice(made: tuple[Config, Plan, Store]) -> None:
    found = explain.containers(made[0], made[1], "same")
    assert [each.where for each in found] == ["f.yml:6:5 (onboot[0] 'same')", "f.yml:15:5 (services[1] 'same')"]


def test_parts_are_listed_in_order(made: tuple[Config, Plan, Store], golden: Callable[[str, str], None]) -> None:
    golden("evidence/parts.txt", "\n".join(map(command.part_line, explain.parts(*made[:2]))) + "\n")


def test_a_layer_that_only_hides_has_no_version(made: tuple[Config, Plan, Store]) -> None:
    _, decided, store = made
    versions = trace(store, decided.containers[0].image, lambda path: path == "srv/b")
    assert [(each.number, each.kept) for each in versions] == [(1, False)]


@pytest.mark.parametrize(
    ("words", "files", "wanted"),
    [
        (["a.yml"], ["a.yml"], ""),
        (["a.yml", "b.yaml"], ["a.yml", "b.yaml"], ""),
        (["a.yml", "web"], ["a.yml"], "web"),
        (["a.yml", "-", "/etc/x"], ["a.yml", "-"], "/etc/x"),
        (["a.yml", "/etc/passwd"], ["a.yml"], "/etc/passwd"),
        (["-"], ["-"], ""),
        (["https://host/a"], ["https://host/a"], ""),
        (["odd"], ["odd"], ""),
    ],
)
def test_the_last_word_is_a_path_unless_it_is_a_file(words: list[str], files: list[str], wanted: str) -> None:
    assert command.split(words) == (files, wanted)


@pytest.mark.parametrize(
    ("word", "key"), [("", "parts"), ("web", "containers"), ("web:srv/a", "layers"), ("etc/motd", "hides")]
)
def test_each_explanation_is_also_json(
    word: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("f.yml").write_text(TEXT)
    for name, each in IMAGES.items():
        each.save(Store(tmp_path / "store"), f"docker.io/library/{name}")
    words = [
        "--cache",
        str(tmp_path / "store"),
        "explain",
        "--json",
        "--arch",
        "amd64",
        "f.yml",
        *([word] if word else []),
    ]
    assert main(words) == 0
    assert json.loads(capsys.readouterr().out)[key]
    assert main([each for each in words if each != "--json"]) == 0
    assert "f.yml:" in capsys.readouterr().out
