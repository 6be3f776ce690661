from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from moby.config.container import ImageLabel
from moby.config.decode import decode, keys, label
from moby.config.load import parse
from moby.config.model import Config
from moby.config.source import read
from moby.config.spec import Spec
from moby.errors import ConfigError


def models(model: type[Spec]) -> Iterator[type[Spec]]:
    yield model
    for inner in keys(model).values():
        if inner:
            yield from models(inner)


ALL: set[type[Spec]] = {*models(Config), ImageLabel}


@pytest.mark.parametrize("model", sorted(ALL, key=str))
def test_every_key_is_described(model: type[Spec]) -> None:
    assert model.__doc__
    assert all(field.description for field in model.model_fields.values())


def test_the_language_has_all_keys(golden: Callable[[str, str], None]) -> None:
    lines = sorted(f"{model.__name__}: {' '.join(keys(model))}" for model in ALL)
    golden("config/keys.txt", "\n".join(lines) + "\n")


EVERYTHING = """
kernel: {image: k, cmdline: c, binary: b, tar: none, ucode: u}
init: [i]
onboot: [{name: a, image: x}]
onshutdown: [{name: b, image: x}]
services:
  - name: s
    image: x
    capabilities: [all]
    capabilities.add: [CAP_KILL]
    ambient: [CAP_KILL]
    mounts:
      - {destination: /m, type: t, source: s, options: [ro], uidmappings: [{hostID: 1, size: 3}], gidmappings: []}
    binds: ["/a:/b"]
    binds.add: ["/a:/c"]
    devices: [{path: /dev/x, type: c, major: 1, minor: 1.0, mode: "0600"}]
    tmpfs: ["/t:rw"]
    command: [c]
    env: [A=b]
    cwd: /
    net: new
    pid: host
    ipc: /x
    uts: root
    userns: new
    hostname: h
    readonly: true
    maskedPaths: [/x]
    readonlyPaths: [/x]
    uid: s
    gid: 0x10
    additionalGids: [1, root]
    noNewPrivileges: true
    oomScoreAdj: -10
    rootfsPropagation: shared
    cgroupsPath: /x
    sysctl: {a: b}
    rlimits: ["nofile,1,2"]
    uidMappings: [{hostID: 1, containerID: 2, size: 3}]
    gidMappings: [{hostID: 1, containerID: 2, size: 3}]
    annotations: {a: b}
    resources:
      devices: [{allow: true, type: c, major: 1, minor: 2, access: rwm}]
      memory: {limit: 1, reservation: 1, swap: 1, kernel: 1, kernelTCP: 1, swappiness: 1, disableOOMKiller: true}
      cpu: {shares: 1, quota: 1, period: 1, realtimeRuntime: 1, realtimePeriod: 1, cpus: "0", mems: "0"}
      pids: {limit: 1}
      blockio:
        weight: 10
        leafWeight: 10
        weightDevice: [{major: 1, minor: 1, weight: 10, leafWeight: 10}]
        throttleReadBpsDevice: [{major: 1, minor: 1, rate: 1}]
        throttleWriteBpsDevice: [{major: 1, minor: 1, rate: 1}]
        throttleReadIOPSDevice: [{major: 1, minor: 1, rate: 1}]
        throttleWriteIOPSDevice: [{major: 1, minor: 1, rate: 1}]
      hugepageLimits: [{pageSize: 2097152, limit: 1}]
      network: {classID: 1, priorities: [{name: eth0, priority: 1}]}
    runtime:
      cgroups: [c]
      mounts: [{destination: /m}]
      mkdir: [/m]
      interfaces: [{name: n, add: veth, peer: p, createInRoot: true}]
      bindNS: {cgroup: a, ipc: a, mnt: a, net: a, pid: a, user: a, uts: a}
      namespace: n
files:
  - {path: a, directory: true, mode: "0700", uid: s, gid: 5}
  - {path: b, symlink: x, optional: false}
  - {path: c, contents: ""}
  - {path: d, source: s, optional: true}
  - {path: e, metadata: yaml}
volumes: [{name: v, image: x, readonly: true, format: oci, platforms: [linux/amd64]}]
trust: {image: [x], org: [o], keys: [k]}
"""


def test_every_key_is_accepted() -> None:
    config = parse(EVERYTHING)
    (service,) = config.services or ()
    assert [name for name in ImageLabel.model_fields if getattr(service, name) is None] == []
    assert service.devices and service.devices[0].minor == 1


def test_no_key_accepts_null_and_every_mapping_refuses_other_keys() -> None:
    document = read(EVERYTHING, file="f.yml")
    for path in document.places.keys:
        text = _with_null(document.data, path)
        _, faults = decode(Config, read(text, file="f.yml"))
        if path[-2:-1] not in (("sysctl",), ("annotations",)):
            assert any("nothing (null)" in fault.what for fault in faults), path


def _with_null(data: object, path: tuple[str | int, ...]) -> str:
    import json

    root = json.loads(json.dumps(data))
    holder = root
    for part in path[:-1]:
        holder = holder[part]
    holder[path[-1]] = None
    return json.dumps(root)


def test_absent_is_not_empty() -> None:
    config = parse("services: [{name: a, image: x}, {name: b, image: x, binds: [], env: [], sysctl: {}}]")
    absent, empty = config.services or ()
    assert (absent.binds, absent.env, absent.sysctl) == (None, None, None)
    assert (empty.binds, empty.env, empty.sysctl) == ((), (), {})


def test_a_label_may_be_json_or_yaml_and_hold_the_keys_of_a_service() -> None:
    for text in ('{"pid": "host", "binds": ["/a:/b"]}', "pid: host\nbinds:\n- /a:/b\n"):
        found = label(text, image="x:1")
        assert found is not None
        assert (found.pid, found.binds, found.env) == ("host", ("/a:/b",), None)


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_label_is_none(text: str) -> None:
    assert label(text, image="x:1") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[1]", ["image x:1, label org.mobyproject.config: the label is a list, not a mapping"]),
        ("text", ["image x:1, label org.mobyproject.config: the label is the text 'text', not a mapping"]),
        (
            '{"name": "x", "pids": "host", "binds": ["a"]}',
            [
                "image x:1, label org.mobyproject.config:1:2: unknown key 'name' (a label cannot set it)",
                "image x:1, label org.mobyproject.config:1:15: unknown key 'pids' (did you mean 'pid'?)",
                "image x:1, label org.mobyproject.config:1:41 (binds[0]): bind 'a' has no ':'",
            ],
        ),
        ("{", ["image x:1, label org.mobyproject.config:2:1: not YAML: a value is missing here"]),
    ],
)
def test_everything_wrong_with_a_label_is_reported(text: str, expected: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        label(text, image="x:1")
    found = [str(each) for each in (caught.value, *caught.value.others)]
    assert len(found) == len(expected)
    assert all(one.startswith(start) for one, start in zip(found, expected, strict=True))


def test_the_json_schema_can_be_made() -> None:
    schema = Config.model_json_schema()
    assert schema["additionalProperties"] is False
    assert "capabilities.add" in schema["$defs"]["ImageEntry"]["properties"]
