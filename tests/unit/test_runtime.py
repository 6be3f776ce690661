from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moby.config.fields import CAPABILITIES
from moby.errors import ConfigError
from moby.oci.manifest import ImageConfig
from tests.support.plans import planned, spec

DEFAULTS = ["/dev", "/dev/pts", "/proc", "/sys", "/sys/fs/cgroup"]


def mounts(text: str) -> dict[str, Any]:
    return {each["destination"]: each for each in spec(text)["mounts"]}  # type: ignore[attr-defined]


def linux(text: str) -> Any:
    return spec(text)["linux"]


def process(text: str, image: ImageConfig | None = None) -> Any:
    return spec(text, image)["process"]


def runtime(text: str) -> Any:
    (container,) = planned(f"services: [{{name: s, image: x, {text}}}]").containers
    return json.loads(container.runtime_json)


EVERY_KEY = """
services:
  - name: s
    image: x
    capabilities: [CAP_NET_ADMIN, CAP_CHOWN]
    ambient: [CAP_KILL]
    mounts:
      - {type: mqueue}
      - destination: /m
        type: bind
        source: /src
        options: [ro, rbind]
        uidmappings: [{hostID: 1, containerID: 2, size: 3}]
        gidmappings: [{hostID: 4, containerID: 5, size: 6}]
    binds: ["/a:/b", "/c:/d:ro,rslave"]
    devices:
      - {path: /dev/x, type: c, major: 10, minor: 229, mode: "0600"}
      - {path: /dev/y, type: b, major: 7, minor: 0}
      - {path: all, type: a}
    tmpfs: ["/t:rw,size=1m", "/u"]
    command: [/bin/x, "<&>"]
    env: [A=ü]
    cwd: /w
    net: none
    pid: host
    ipc: new
    uts: new
    userns: /run/userns
    hostname: h
    readonly: true
    maskedPaths: [/m1]
    readonlyPaths: [/r1]
    uid: s
    gid: -1
    additionalGids: [root, s, 7]
    noNewPrivileges: true
    oomScoreAdj: 0
    rootfsPropagation: slave
    cgroupsPath: /g
    sysctl: {net.b: "1", net.a: "2"}
    rlimits: ["nofile,100,unlimited", "RLIMIT_CORE,0,0"]
    uidMappings: [{hostID: 1000, containerID: 0, size: 1}]
    gidMappings: [{hostID: 2000, containerID: 0, size: 1}]
    annotations: {b: "1", a: "2"}
    resources:
      devices: [{allow: false, access: rwm}, {allow: true, type: c, major: 1, minor: 3, access: r}]
      memory: {limit: 0, kernelTCP: 5, swappiness: 60, disableOOMKiller: false}
      cpu: {shares: 2, realtimeRuntime: 3, realtimePeriod: 4, cpus: 0-1}
      pids: {}
      blockio:
        weight: 10
        leafWeight: 20
        weightDevice: [{major: 8, minor: 0, weight: 30}]
        throttleReadIOPSDevice: [{major: 8, minor: 0, rate: 100}]
      hugepageLimits: [{pageSize: 2097152, limit: 9}, {pageSize: 1GB}]
      network: {classID: 6, priorities: [{name: eth0, priority: 7}]}
    runtime:
      cgroups: [c]
      mounts: [{type: tmpfs, source: tmpfs, destination: /rt, options: [nodev]}, {destination: /rt, options: [shared]}]
      mkdir: [/var/x]
      interfaces: [{name: v0, add: veth, peer: v1, createInRoot: true}, {name: eth1}]
      bindNS: {net: /run/netns/s}
      namespace: ns
"""


def test_every_key_in_both_files(golden: Callable[[str, str], None]) -> None:
    (container,) = planned(EVERY_KEY).containers
    golden("config/every-key.config.json", container.config_json.decode())
    golden("config/every-key.runtime.json", container.runtime_json.decode())


def test_text_is_escaped_as_the_original_does() -> None:
    (container,) = planned('services: [{name: s, image: x, command: ["<&>", "ü\\u2028\\b\\x01\\x7f"]}]').containers
    assert rb"\u003c\u0026\u003e" in container.config_json
    assert "ü".encode() + rb"\u2028\b\u0001" + b"\x7f" in container.config_json
    assert not container.config_json.endswith(b"\n")


@pytest.mark.parametrize(
    ("text", "mount"),
    [
        ("tmpfs: [/t]", {"destination": "/t", "type": "tmpfs", "source": "tmpfs"}),
        ("tmpfs: ['/t:a,b']", {"destination": "/t", "type": "tmpfs", "source": "tmpfs", "options": ["a", "b"]}),
        (
            "binds: ['/s:/t']",
            {"destination": "/t", "type": "bind", "source": "/s", "options": ["rw", "rbind", "rshared"]},
        ),
        ("binds: ['/s:/t:ro']", {"destination": "/t", "type": "bind", "source": "/s", "options": ["ro", "rbind"]}),
        (
            "binds: ['/s:/t:rbind']",
            {"destination": "/t", "type": "bind", "source": "/s", "options": ["rbind", "rbind"]},
        ),
        ("mounts: [{type: mqueue}]", {"destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue"}),
        ("mounts: [{type: cgroup}]", {"destination": "/sys/fs/cgroup", "type": "cgroup", "source": "cgroup"}),
        ("mounts: [{destination: /dev}]", {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}),
        (
            "mounts: [{source: proc, options: [ro]}]",
            {"destination": "/proc", "type": "proc", "source": "proc", "options": ["ro"]},
        ),
    ],
)
def test_mounts(text: str, mount: dict[str, object]) -> None:
    assert mounts(text)[str(mount["destination"])] == mount


def test_a_later_mount_replaces_one_at_the_same_destination() -> None:
    found = mounts("tmpfs: [/x], binds: ['/a:/x', '/b:/x'], mounts: [{type: bind, source: /c, destination: /x}]")
    assert found["/x"] == {"destination": "/x", "type": "bind", "source": "/c"}
    assert mounts("tmpfs: [/x], binds: ['/a:/x', '/b:/x']")["/x"]["source"] == "/b"
    assert "/x/" in mounts("tmpfs: [/x], binds: ['/a:/x/']")


@given(st.lists(st.text("ab/Zé-.", min_size=1, max_size=5), max_size=6))
def test_mounts_are_sorted_by_the_bytes_of_their_destination(names: list[str]) -> None:
    text = json.dumps([f"/{name}" for name in names], ensure_ascii=False)
    found = list(mounts(f"tmpfs: {text}"))
    assert found == sorted({*DEFAULTS, *(f"/{name}" for name in names)}, key=str.encode)


def test_readonly_closes_dev_and_sys() -> None:
    found = mounts("readonly: true")
    assert [found[path]["options"][-1] == "ro" for path in DEFAULTS] == [True, False, False, True, True]
    assert mounts("readonly: false") == mounts("")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", [{"type": "pid"}, {"type": "mount"}]),
        ("net: new", [{"type": "network"}, {"type": "pid"}, {"type": "mount"}]),
        ("net: none", [{"type": "network"}, {"type": "pid"}, {"type": "mount"}]),
        ("net: host, pid: root", [{"type": "mount"}]),
        ("net: /run/netns/a, pid: host", [{"type": "network", "path": "/run/netns/a"}, {"type": "mount"}]),
        (
            "userns: new, pid: new, uts: new, ipc: /i",
            [{"type": "ipc", "path": "/i"}, {"type": "uts"}, {"type": "pid"}, {"type": "user"}, {"type": "mount"}],
        ),
    ],
)
def test_namespaces(text: str, expected: list[dict[str, str]]) -> None:
    assert linux(text)["namespaces"] == expected


def test_no_capabilities_by_default() -> None:
    assert process("")["capabilities"] == {}
    assert process("capabilities: [none]")["capabilities"] == {}


def test_all_capabilities_keep_the_kernels_order_where_the_original_does() -> None:
    found = process("capabilities: [all]")["capabilities"]
    assert found["effective"] == list(CAPABILITIES)
    assert found["bounding"] == found["inheritable"] == found["permitted"] == sorted(CAPABILITIES)
    assert "ambient" not in found


def test_an_ambient_capability_is_not_in_effective() -> None:
    assert process("capabilities: [CAP_SYS_TIME, CAP_CHOWN], ambient: [CAP_KILL]")["capabilities"] == {
        "bounding": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_TIME"],
        "effective": ["CAP_SYS_TIME", "CAP_CHOWN"],
        "inheritable": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_TIME"],
        "permitted": ["CAP_CHOWN", "CAP_KILL", "CAP_SYS_TIME"],
        "ambient": ["CAP_KILL"],
    }


def test_repeated_capabilities_stay_in_effective_only() -> None:
    found = process("capabilities: [CAP_KILL, CAP_KILL]")["capabilities"]
    assert (found["effective"], found["bounding"]) == (["CAP_KILL", "CAP_KILL"], ["CAP_KILL"])


def test_nothing_is_invented() -> None:
    assert process("") == {"user": {"uid": 0, "gid": 0}, "cwd": "/", "capabilities": {}}
    assert set(spec("")) == {"ociVersion", "process", "root", "mounts", "linux"}
    assert linux("") == {"resources": {}, "namespaces": [{"type": "pid"}, {"type": "mount"}]}


def test_zero_is_a_value_where_the_specification_has_a_pointer() -> None:
    assert process("oomScoreAdj: 0")["oomScoreAdj"] == 0
    assert linux("resources: {memory: {limit: 0}, cpu: {}, pids: {}}")["resources"] == {
        **{"memory": {"limit": 0}, "cpu": {}, "pids": {"limit": 0}},
    }


def test_devices_follow_the_rules_of_resources() -> None:
    text = "devices: [{path: all, type: b}, {path: /d, type: c, major: 1, minor: 2, mode: '0640'}]"
    text += ", resources: {devices: [{allow: false}]}"
    assert linux(text)["resources"]["devices"] == [
        {"allow": False},
        {"allow": True, "type": "b", "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 2, "access": "rwm"},
    ]
    assert linux(text)["devices"] == [{"path": "/d", "type": "c", "major": 1, "minor": 2, "fileMode": 0o640}]


def test_a_device_without_mode_is_open_to_all() -> None:
    assert linux("devices: [{path: /d, type: c, major: 1, minor: 2}]")["devices"][0]["fileMode"] == 0o666


def test_ids_by_name_wrap_and_root() -> None:
    text = """
onboot: [{name: a, image: x}]
services: [{name: b, image: x, uid: a, gid: -1, additionalGids: [b, root, 4294967297]}]
"""
    _, service = planned(text).containers
    user = json.loads(service.config_json)["process"]["user"]
    assert user == {"uid": 100, "gid": 4294967295, "additionalGids": [101, 0, 1]}


def test_the_users_of_images_are_ignored() -> None:
    assert process("", ImageConfig(user="1000:1000"))["user"] == {"uid": 0, "gid": 0}


def test_an_unknown_id_of_a_label_is_refused() -> None:
    image = ImageConfig(labels={"org.mobyproject.config": "uid: nobody"})
    with pytest.raises(ConfigError, match="cannot find id 'nobody'"):
        spec("", image)


def test_limits_give_hard_before_soft() -> None:
    text = json.dumps(process("rlimits: ['nofile,1,unlimited']")["rlimits"])
    assert text == '[{"type": "RLIMIT_NOFILE", "hard": 18446744073709551615, "soft": 1}]'


def test_runtime_mounts_come_after_those_of_the_root() -> None:
    found = runtime("runtime: {mounts: [{destination: /x, type: tmpfs}]}")["mounts"]
    assert [each["destination"].rsplit("/", 1)[1] for each in found] == ["tmp", "tmp", "rootfs", "x"]
    assert runtime("readonly: true")["mounts"] == [
        {
            "destination": "/containers/services/s/rootfs",
            "source": "/containers/services/s/rootfs",
            "options": ["bind"],
        }
    ]


def test_interfaces_always_say_where_they_are_made() -> None:
    found = runtime("runtime: {interfaces: [{name: a}, {name: b, add: veth, peer: c, createInRoot: true}]}")
    assert found["interfaces"] == [
        {"name": "a", "createInRoot": False},
        {"name": "b", "add": "veth", "peer": "c", "createInRoot": True},
    ]
