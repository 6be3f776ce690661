from __future__ import annotations

from typing import Any

import pytest

from moby.config.container import ImageEntry, ImageLabel
from moby.config.decode import label
from moby.config.load import parse
from moby.effective import Effective, Origin, effective
from moby.oci.manifest import ImageConfig

# A value in the YAML, another in the label, and the default, for each key that is replaced as soon as it is given.
GIVEN: dict[str, tuple[str, str, object]] = {
    "ambient": ("[CAP_KILL]", "[CAP_CHOWN]", ()),
    "mounts": ("[{type: proc}]", "[{type: sysfs}]", ()),
    "devices": ("[{path: /a}]", "[{path: /b}]", ()),
    "tmpfs": ("[/a]", "[/b]", ()),
    "command": ("[a]", "[b]", ()),
    "env": ("[A=a]", "[A=b]", ()),
    "readonly": ("false", "true", False),
    "maskedPaths": ("[/a]", "[/b]", ()),
    "readonlyPaths": ("[/a]", "[/b]", ()),
    "uid": ("1", "2", 0),
    "gid": ("1", "2", 0),
    "additionalGids": ("[1]", "[2]", ()),
    "noNewPrivileges": ("false", "true", False),
    "oomScoreAdj": ("0", "5", None),
    "rootfsPropagation": ("a", "b", ""),
    "cgroupsPath": ("a", "b", ""),
    "resources": ("{}", "{pids: {limit: 1}}", None),
    "sysctl": ("{a: b}", "{c: d}", {}),
    "rlimits": ("['core,1,1']", "['core,2,2']", ()),
    "uidMappings": ("[{size: 1}]", "[{size: 2}]", ()),
    "gidMappings": ("[{size: 1}]", "[{size: 2}]", ()),
    "annotations": ("{a: b}", "{c: d}", {}),
    "capabilities": ("[CAP_KILL]", "[CAP_CHOWN]", ()),
    "binds": ("['/a:/a']", "['/b:/b']", ()),
}
EMPTIES = {"rootfsPropagation": '""', "cgroupsPath": '""', "sysctl": "{}", "annotations": "{}"}
TEXTS = ("net", "pid", "ipc", "uts", "userns", "hostname")


def entry(text: str) -> ImageEntry:
    (found,) = parse(f"services: [{{name: s, image: x, {text}}}]").services or ()
    return found


def settled(text: str, own: str = "", image: ImageConfig | None = None) -> Effective:
    return effective(entry(text), label(f"{{{own}}}", image="x") if own else None, image or ImageConfig())


def value(result: Effective, key: str) -> Any:
    names = {field.alias or name: name for name, field in ImageLabel.model_fields.items()}
    return getattr(result.settings, names[key])


def plain(key: str, text: str) -> Any:
    names = {field.alias or name: name for name, field in ImageLabel.model_fields.items()}
    return getattr(entry(f"{key}: {text}"), names[key])


@pytest.mark.parametrize("key", GIVEN)
def test_yaml_wins_over_label_and_label_over_default(key: str) -> None:
    ours, theirs, default = GIVEN[key]
    assert value(settled(f"{key}: {ours}", f"{key}: {theirs}"), key) == plain(key, ours)
    assert value(settled("", f"{key}: {theirs}"), key) == plain(key, theirs)
    assert value(settled(""), key) == default


@pytest.mark.parametrize("key", [key for key, (ours, _, _) in GIVEN.items() if key in EMPTIES or ours.startswith("[")])
def test_an_empty_value_overrides_the_label(key: str) -> None:
    empty = EMPTIES.get(key, "[]")
    assert value(settled(f"{key}: {empty}", f"{key}: {GIVEN[key][1]}"), key) == plain(key, empty)


@pytest.mark.parametrize("key", TEXTS)
def test_an_empty_text_does_not_override_the_label(key: str) -> None:
    assert value(settled(f"{key}: ''", f"{key}: b"), key) == "b"
    assert value(settled(f"{key}: a", f"{key}: b"), key) == "a"
    assert value(settled(""), key) == ""


def test_the_command_of_the_image_is_entrypoint_and_cmd() -> None:
    image = ImageConfig(entrypoint=("/e",), cmd=("c",), env=("A=i",), working_dir="/i")
    result = settled("", "", image)
    assert (result.settings.command, result.settings.env, result.settings.cwd) == (("/e", "c"), ("A=i",), "/i")
    assert {result.origins[key] for key in ("command", "env", "cwd")} == {(Origin.IMAGE,)}
    assert settled("command: []", "", image).settings.command == ()
    assert settled("", "command: [l]", image).settings.command == ("l",)


def test_the_working_directory_comes_from_the_first_that_is_not_empty() -> None:
    image = ImageConfig(working_dir="/i")
    assert settled("cwd: /y", "cwd: /l", image).settings.cwd == "/y"
    assert settled("cwd: ''", "cwd: /l", image).settings.cwd == "/l"
    assert settled("cwd: ''", "cwd: ''", image).settings.cwd == "/i"
    assert settled("").settings.cwd == "/"


def test_added_capabilities_follow_those_of_the_label_with_repetitions() -> None:
    result = settled("capabilities.add: [CAP_KILL, CAP_CHOWN]", "capabilities: [CAP_CHOWN]")
    assert result.settings.capabilities == ("CAP_CHOWN", "CAP_KILL", "CAP_CHOWN")
    assert result.origins["capabilities"] == (Origin.LABEL, Origin.YAML)


def test_added_capabilities_stand_alone_without_a_label() -> None:
    assert settled("capabilities.add: [CAP_KILL]").settings.capabilities == ("CAP_KILL",)


def test_added_capabilities_are_ignored_beside_given_ones_and_in_labels() -> None:
    assert settled("capabilities: [], capabilities.add: [CAP_KILL]").settings.capabilities == ()
    assert settled("", "capabilities.add: [CAP_KILL]").settings.capabilities == ()


def test_adding_to_everything_is_everything() -> None:
    result = settled("capabilities.add: [CAP_KILL]", "capabilities: [all]")
    assert len(result.settings.capabilities or ()) == 41


@pytest.mark.parametrize("none", ["[none]", "[None]", "[]"])
def test_adding_to_nothing_is_what_is_added(none: str) -> None:
    assert settled("capabilities.add: [CAP_KILL]", f"capabilities: {none}").settings.capabilities == ("CAP_KILL",)


def test_added_binds_follow_those_of_the_label() -> None:
    assert settled("binds.add: ['/a:/a']", "binds: ['/b:/b']").settings.binds == ("/b:/b", "/a:/a")
    assert settled("binds: ['/c:/c'], binds.add: ['/a:/a']", "binds: ['/b:/b']").settings.binds == ("/c:/c",)
    assert settled("", "binds.add: ['/b:/b']").settings.binds == ()


def test_runtime_is_settled_key_by_key() -> None:
    own = "runtime: {mkdir: [/l], cgroups: [l], namespace: l, bindNS: {net: /l, pid: /l}}"
    result = settled("runtime: {mkdir: [], namespace: '', bindNS: {net: /y, ipc: /y}}", own)
    assert (result.runtime.mkdir, result.runtime.cgroups, result.runtime.namespace) == ((), ("l",), "")
    bound = result.runtime.bind_ns
    assert bound and (bound.net, bound.pid, bound.ipc, bound.uts) == ("/y", "/l", "/y", "")
    assert result.origins["runtime.mkdir"] == (Origin.YAML,)
    assert result.origins["runtime.cgroups"] == (Origin.LABEL,)


def test_an_empty_runtime_changes_nothing() -> None:
    assert settled("runtime: {}", "runtime: {mkdir: [/l]}").runtime == settled("", "runtime: {mkdir: [/l]}").runtime
