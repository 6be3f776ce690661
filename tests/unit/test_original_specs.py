"""Random containers have the ``config.json`` and ``runtime.json`` that a model of the original tool gives them.

The model works on the plain values of YAML, label and image, and shares nothing with the code. What differs on purpose
is left out: ``all`` with ``capabilities.add``, devices without mode, keys that the original checks and then drops.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from moby.oci.manifest import ImageConfig
from tests.support.plans import planned

# capabilities(7), as "all" has them.
ALL = [
    f"CAP_{name}"
    for name in (
        *("CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP"),
        *("LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER"),
        *("SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE"),
        *("SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP"),
        *("MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF"),
        "CHECKPOINT_RESTORE",
    )
]
DEFAULT_MOUNTS = {
    "/proc": ("proc", ["nosuid", "nodev", "noexec", "relatime"]),
    "/dev": ("tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
    "/dev/pts": ("devpts", ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"]),
    "/sys": ("sysfs", ["nosuid", "noexec", "nodev"]),
    "/sys/fs/cgroup": ("cgroup", ["nosuid", "noexec", "nodev", "relatime", "ro"]),
}
HOMES = {"proc": "/proc", "devpts": "/dev/pts", "sysfs": "/sys", "cgroup": "/sys/fs/cgroup", "mqueue": "/dev/mqueue"}
NAMES = ("one", "two", "s")

Values = dict[str, Any]


def few(*values: Any) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.sampled_from(values), max_size=3)


TEXTS = few("", "a", "<&>", "ü\u2028", "it's\n")
MAPS = st.dictionaries(st.sampled_from(("b", "a", "é", "a.b")), st.sampled_from(("", "1", "<")), max_size=3)
IDS = st.sampled_from((0, 7, -1, 1 << 32, "", "root", "one", "s"))
BINDS = few("/a:/b", "/a:/b:ro", "/c:/dev", "/c:/d:rshared,rbind", "/r:/dev/shm")
MOUNTS = few(
    {"type": "mqueue"},
    {"source": "proc", "options": ["ro"]},
    {"destination": "/dev", "options": []},
    {"type": "bind", "source": "/x", "destination": "/b", "options": ["bind", "ro"]},
    {"type": "tmpfs", "destination": "/t"},
)
INTERFACES = few(
    {"name": "a"}, {"name": "b", "add": "veth", "peer": "c", "createInRoot": True}, {"name": "", "add": "d"}
)
NAMESPACES = {key: st.sampled_from(("", "host", "root", "new", "/run/ns")) for key in ("pid", "ipc", "uts", "userns")}
RESOURCES = st.fixed_dictionaries(
    {},
    optional={
        "devices": few({"allow": False, "access": "rwm"}, {"allow": True, "type": "c", "major": 1, "minor": 0}, {}),
        "memory": st.fixed_dictionaries({}, optional={"swap": st.just(-1), "limit": st.just(0)}),
        "cpu": st.fixed_dictionaries({}, optional={"cpus": st.sampled_from(("", "0")), "shares": st.just(2)}),
        "pids": st.fixed_dictionaries({}, optional={"limit": st.sampled_from((0, 5))}),
        "blockio": st.fixed_dictionaries({}, optional={"weight": st.just(0)}),
        "network": st.fixed_dictionaries({}, optional={"priorities": few({"name": "e", "priority": 0})}),
    },
)
SETTINGS: dict[str, st.SearchStrategy[Any]] = {
    "capabilities": few("CAP_SYS_TIME", "CAP_CHOWN", "CAP_KILL") | st.sampled_from((["none"], ["NONE"])),
    "ambient": few("CAP_SYS_TIME", "CAP_BPF") | st.sampled_from((["all"], ["none"])),
    "mounts": MOUNTS,
    "binds": BINDS,
    "devices": few(
        {"path": "all", "type": "b"},
        {"path": "/dev/x", "type": "c", "major": 0, "minor": 255, "mode": "0640"},
        {"path": "/dev/y", "type": "b", "major": 7, "minor": 0, "mode": "666"},
    ),
    "tmpfs": few("/t", "/t:a,b", "/dev:size=1m", "/x:"),
    **{key: TEXTS for key in ("command", "env", "maskedPaths", "readonlyPaths")},
    "cwd": st.sampled_from(("", "/w")),
    "net": st.sampled_from(("", "host", "root", "new", "none", "/run/netns/x")),
    **NAMESPACES,
    "hostname": st.sampled_from(("", "h")),
    "readonly": st.booleans(),
    "uid": IDS,
    "gid": IDS,
    "additionalGids": st.lists(IDS, max_size=2),
    "noNewPrivileges": st.booleans(),
    "oomScoreAdj": st.sampled_from((0, -5)),
    "rootfsPropagation": st.sampled_from(("", "slave")),
    "cgroupsPath": st.sampled_from(("", "/g")),
    "resources": RESOURCES,
    "sysctl": MAPS,
    "annotations": MAPS,
    "rlimits": few("nofile,1,unlimited", " RLIMIT_CORE , 0,\t18446744073709551615", "rttime,3,4"),
    "uidMappings": few({"size": 3}, {"containerID": 1, "hostID": 2, "size": 0}),
    "gidMappings": few({"size": 3}),
    "runtime": st.fixed_dictionaries(
        {},
        optional={
            **{key: TEXTS for key in ("cgroups", "mkdir")},
            "mounts": MOUNTS,
            "interfaces": INTERFACES,
            "namespace": st.sampled_from(("", "ns")),
            "bindNS": st.dictionaries(st.sampled_from(("net", "cgroup", "uts")), st.sampled_from(("", "/n"))),
        },
    ),
}
LABELS = st.fixed_dictionaries({}, optional=SETTINGS)
ENTRIES = st.fixed_dictionaries(
    {},
    optional=SETTINGS
    | {
        "binds": few("/a:/b", "v:/b", "w:/c:ro", "v:/c:ro,slave"),
        "capabilities.add": few("CAP_CHOWN", "CAP_BPF"),
        "binds.add": few("/a:/b", "v:/e"),
    },
)
IMAGES = st.fixed_dictionaries(
    {}, optional={"entrypoint": TEXTS, "cmd": TEXTS, "env": TEXTS, "working_dir": st.sampled_from(("", "/i"))}
)


@settings(max_examples=100, deadline=None)
@given(ENTRIES, LABELS, IMAGES, st.booleans())
def test_a_container_is_the_originals(entry: Values, label: Values, image: Values, first: bool) -> None:
    others = [{"name": "one", "image": "y"}, {"name": "two", "image": "x", "readonly": True}]
    entries = [{"name": "s", "image": "x", **entry}, *([] if first else [{"name": "z", "image": "y"}])]
    document = {"onboot": others, "services": entries, "volumes": [{"name": "v"}, {"name": "w", "readonly": True}]}
    labels = {"org.mobyproject.config": json.dumps(label)}
    config = ImageConfig(**image, user="1:1", labels=labels)
    made = planned(json.dumps(document), {"x": config}).containers[2]
    read_only = chosen(entry, label, "readonly", False)
    assert made.config_json.decode() == printed(config_json(entry, label, image))
    root = "/containers/onboot/001-two/rootfs"
    assert made.runtime_json.decode() == printed(runtime_json(entry, label, root, read_only))


def printed(value: object) -> str:
    """As Go prints JSON."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    for letter, escaped in zip("<>&\u2028", ("\\u003c", "\\u003e", "\\u0026", "\\u2028"), strict=True):
        text = text.replace(letter, escaped)
    return text


def chosen(entry: Values, label: Values, key: str, default: Any) -> Any:
    return entry.get(key, label.get(key, default))


def text(entry: Values, label: Values, key: str, default: str = "") -> str:
    return entry.get(key) or label.get(key) or default


def added(entry: Values, label: Values, key: str) -> list[str]:
    if key in entry:
        return list(entry[key])
    own, further = label.get(key, ()), entry.get(f"{key}.add", ())
    # The original refuses a label's "none" together with what is added.
    return [*(each for each in own if not further or each.lower() != "none"), *further]


def filled(**values: Any) -> Values:
    return {key: value for key, value in values.items() if value not in ("", [], {}, None, False)}


def identity(value: int | str) -> int:
    if isinstance(value, int):
        return value % (1 << 32)
    return 0 if value in ("", "root") else {"one": 100, "two": 101, "s": 102}[value]


def config_json(entry: Values, label: Values, image: Values) -> Values:
    def either(key: str, default: Any = None) -> Any:
        return chosen(entry, label, key, default)

    user = {"uid": identity(either("uid", 0)), "gid": identity(either("gid", 0))}
    user |= filled(additionalGids=[identity(each) for each in either("additionalGids", [])])
    score = either("oomScoreAdj")
    process = {
        "user": user,
        **filled(
            args=either("command", [*image.get("entrypoint", ()), *image.get("cmd", ())]),
            env=either("env", list(image.get("env", ()))),
        ),
        "cwd": text(entry, label, "cwd") or image.get("working_dir") or "/",
        "capabilities": capabilities(added(entry, label, "capabilities"), either("ambient", [])),
        **filled(rlimits=[limit(each) for each in either("rlimits", [])], noNewPrivileges=either("noNewPrivileges")),
        **({} if score is None else {"oomScoreAdj": score}),
    }
    return {
        "ociVersion": "1.2.1",
        "process": process,
        "root": {"path": "rootfs", **filled(readonly=either("readonly"))},
        **filled(hostname=text(entry, label, "hostname")),
        "mounts": mounts(entry, label),
        **filled(annotations=dict(sorted(either("annotations", {}).items()))),
        "linux": linux(entry, label),
    }


def capabilities(names: Sequence[str], ambient: Sequence[str]) -> Values:
    given, around = ([] if len(each) == 1 and each[0].lower() == "none" else list(each) for each in (names, ambient))
    around = ALL if around == ["all"] else around
    union = sorted({*given, *around})
    return filled(bounding=union, effective=given, inheritable=union, permitted=union, ambient=around)


def limit(text: str) -> Values:
    name, soft, hard = (part.strip() for part in text.split(","))
    numbers = {"unlimited": (1 << 64) - 1}
    kind = name.upper() if name.upper().startswith("RLIMIT_") else f"RLIMIT_{name.upper()}"
    return {"type": kind, "hard": numbers.get(hard) or int(hard), "soft": numbers.get(soft) or int(soft)}


def mounts(entry: Values, label: Values) -> list[Values]:
    readonly = chosen(entry, label, "readonly", False)
    found = {
        place: mount(place, kind, kind, [*options, *(["ro"] if readonly and place in ("/dev", "/sys") else [])])
        for place, (kind, options) in DEFAULT_MOUNTS.items()
    }
    for each in chosen(entry, label, "tmpfs", []):
        place, colon, options = each.partition(":")
        found[place] = mount(place, "tmpfs", "tmpfs", options.split(",") if colon else [])
    for each in added(entry, label, "binds"):
        source, place, *rest = each.split(":")
        source = source if source.startswith("/") else f"/containers/volumes/{source}/merged"
        found[place] = mount(
            place, "bind", source, [*rest[0].split(","), "rbind"] if rest else ["rw", "rbind", "rshared"]
        )
    for each in chosen(entry, label, "mounts", []):
        source, place = each.get("source", ""), each.get("destination", "")
        kind = each.get("type") or (source if source in HOMES else "tmpfs")
        place = place or HOMES[kind]
        found[place] = mount(place, kind, source or kind, each.get("options", []))
    return [found[place] for place in sorted(found, key=str.encode)]


def mount(place: str, kind: str, source: str, options: Sequence[str]) -> Values:
    return {"destination": place, **filled(type=kind, source=source, options=list(options))}


def linux(entry: Values, label: Values) -> Values:
    def either(key: str, default: Any = None) -> Any:
        return chosen(entry, label, key, default)

    mappings = {
        key: [{name: each.get(name, 0) for name in ("containerID", "hostID", "size")} for each in either(key, [])]
        for key in ("uidMappings", "gidMappings")
    }
    devices = [
        {key: each[key] for key in ("path", "type", "major", "minor")} | {"fileMode": int(each["mode"], 8)}
        for each in either("devices", [])
        if each["path"] != "all"
    ]
    return {
        **filled(**mappings, sysctl=dict(sorted(either("sysctl", {}).items()))),
        "resources": resources(either("resources", {}), either("devices", [])),
        **filled(cgroupsPath=either("cgroupsPath")),
        "namespaces": namespaces(entry, label),
        **filled(devices=devices),
        **filled(**{key: either(key) for key in ("rootfsPropagation", "maskedPaths", "readonlyPaths")}),
    }


def namespaces(entry: Values, label: Values) -> list[Values]:
    kinds = {"net": "network", "ipc": "ipc", "uts": "uts", "pid": "pid", "userns": "user"}
    found = []
    for key, kind in kinds.items():
        wanted = text(entry, label, key, "new" if key == "pid" else "host")
        if wanted not in ("host", "root"):
            found.append({"type": kind} | ({} if wanted in ("new", "none") else {"path": wanted}))
    return [*found, {"type": "mount"}]


def resources(given: Values, devices: Sequence[Values]) -> Values:
    rules = [
        {"allow": each.get("allow", False)} | given_of(each, "type", "major", "minor", "access")
        for each in given.get("devices", ())
    ]
    for each in devices:
        numbers = {} if each["path"] == "all" else {"major": each["major"], "minor": each["minor"]}
        rules.append({"allow": True, "type": each["type"], **numbers, "access": "rwm"})
    found = filled(devices=rules)
    if "memory" in given:
        found["memory"] = given_of(given["memory"], "limit", "swap")
    if "cpu" in given:
        found["cpu"] = given_of(given["cpu"], "shares") | filled(cpus=given["cpu"].get("cpus"))
    if "pids" in given:
        found["pids"] = {"limit": given["pids"].get("limit", 0)}
    if "blockio" in given:
        found["blockIO"] = given["blockio"]
    if "network" in given:
        found["network"] = filled(priorities=given["network"].get("priorities"))
    return found


def given_of(values: Mapping[str, Any], *keys: str) -> Values:
    return {key: values[key] for key in keys if key in values}


def runtime_json(entry: Values, label: Values, root: str, readonly: bool) -> Values:
    ours, theirs = entry.get("runtime", {}), label.get("runtime", {})
    place = "/containers/services/s"
    first = [mount(f"{place}/rootfs", "", root, ["bind"])]
    if not readonly:
        layers = [f"lowerdir={root}", f"upperdir={place}/tmp/upper", f"workdir={place}/tmp/work"]
        first = [
            mount(f"{place}/tmp", "tmpfs", "tmpfs", []),
            mount(f"{place}/tmp", "", "", ["remount", "private"]),
            mount(f"{place}/rootfs", "overlay", "overlay", layers),
        ]
    return {
        "cgroups": chosen(ours, theirs, "cgroups", []),
        "mounts": [*first, *(mounted(each) for each in chosen(ours, theirs, "mounts", []))],
        "mkdir": chosen(ours, theirs, "mkdir", []),
        "interfaces": [
            filled(**given_of(each, "name", "add", "peer")) | {"createInRoot": each.get("createInRoot", False)}
            for each in chosen(ours, theirs, "interfaces", [])
        ],
        "bindNS": {
            key: chosen(ours.get("bindNS", {}), theirs.get("bindNS", {}), key, "")
            for key in ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
        },
        "namespace": chosen(ours, theirs, "namespace", ""),
    }


def mounted(each: Values) -> Values:
    return mount(each.get("destination", ""), each.get("type", ""), each.get("source", ""), each.get("options", []))
