"""``config.json`` (OCI runtime specification 1.2.1) and ``runtime.json`` (the machine's part) of a container.

Pure functions from settings to bytes; the bytes are those of the original tool.
"""

from __future__ import annotations

from collections.abc import Mapping

from moby import ocispec
from moby.config import fields
from moby.config.container import Device, ImageLabel, Mount, Runtime
from moby.ocispec import Plain

OCI_VERSION = "1.2.1"

_PROC = ("nosuid", "nodev", "noexec", "relatime")
_DEV = ("nosuid", "strictatime", "mode=755", "size=65536k")
_DEVPTS = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620")
_SYS = ("nosuid", "noexec", "nodev")
_CGROUP = ("nosuid", "noexec", "nodev", "relatime", "ro")

# Key, type in config.json, and what an absent key means. Their order is that of the array.
_NAMESPACES = (
    ("net", "network", ""),
    ("ipc", "ipc", ""),
    ("uts", "uts", ""),
    ("pid", "pid", "new"),
    ("userns", "user", ""),
)
_SHARED = ("", "host", "root")
_PRIVATE = ("new", "none")


def config_json(settings: ImageLabel, ids: Mapping[str, int]) -> bytes:
    """The OCI configuration of a container with these settings (those of ``effective``).

    ``ids`` are the numbers of all containers by name. Raises ``ConfigError`` for an id that none of them has.
    """
    linux = _linux(settings)
    return ocispec.encode(
        {
            "ociVersion": OCI_VERSION,
            "process": _process(settings, ids),
            "root": {"path": "rootfs"} | ({"readonly": True} if settings.readonly else {}),
            **_given(hostname=settings.hostname),
            "mounts": tuple(ocispec.json_form(ocispec.MOUNT, each) for each in _mounts(settings)),
            **_given(annotations=_sorted(settings.annotations)),
            "linux": linux,
        }
    )


def runtime_json(runtime: Runtime, *, directory: str, root_directory: str, readonly: bool) -> bytes:
    """What the machine does around the container's start.

    ``directory`` is the container's own and ``root_directory`` where its image is unpacked, both from the root of the
    machine without a leading slash.
    """
    bound = runtime.bind_ns
    names = ("cgroup", "ipc", "mnt", "net", "pid", "user", "uts")
    mounts = (*_root_mounts(f"/{directory}", f"/{root_directory}", readonly=readonly), *(runtime.mounts or ()))
    return ocispec.encode(
        {
            "cgroups": runtime.cgroups or (),
            "mounts": tuple(ocispec.json_form(ocispec.MOUNT, each) for each in mounts),
            "mkdir": runtime.mkdir or (),
            "interfaces": tuple(
                {**_given(name=each.name, add=each.add, peer=each.peer), "createInRoot": each.create_in_root}
                for each in runtime.interfaces or ()
            ),
            "bindNS": {name: (getattr(bound, name) if bound else None) or "" for name in names},
            "namespace": runtime.namespace or "",
        }
    )


def _given(**values: Plain) -> dict[str, Plain]:
    """Those of ``values`` that are not empty."""
    return {name: value for name, value in values.items() if value not in ("", (), {}, None)}


def _sorted(values: Mapping[str, str] | None) -> dict[str, Plain]:
    return dict(sorted((values or {}).items(), key=lambda pair: pair[0].encode()))


def _mount(destination: str, type: str, source: str, *options: str) -> Mount:
    return Mount(destination=destination, type=type, source=source, options=options)


def _root_mounts(directory: str, root: str, *, readonly: bool) -> tuple[Mount, ...]:
    if readonly:
        return (_mount(f"{directory}/rootfs", "", root, "bind"),)
    layers = (f"lowerdir={root}", f"upperdir={directory}/tmp/upper", f"workdir={directory}/tmp/work")
    return (
        _mount(f"{directory}/tmp", "tmpfs", "tmpfs"),
        # A mount made shared before would hand the overlay's mounts on to the machine.
        _mount(f"{directory}/tmp", "", "", "remount", "private"),
        _mount(f"{directory}/rootfs", "overlay", "overlay", *layers),
    )


def _mounts(settings: ImageLabel) -> list[Mount]:
    """All mounts, a later one replacing an earlier one at the same destination, sorted by destination."""
    readonly = ("ro",) if settings.readonly else ()
    mounts = [
        _mount("/proc", "proc", "proc", *_PROC),
        _mount("/dev", "tmpfs", "tmpfs", *_DEV, *readonly),
        _mount("/dev/pts", "devpts", "devpts", *_DEVPTS),
        _mount("/sys", "sysfs", "sysfs", *_SYS, *readonly),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", *_CGROUP),
    ]
    for tmpfs in map(fields.Tmpfs.parse, settings.tmpfs or ()):
        mounts.append(_mount(tmpfs.destination, "tmpfs", "tmpfs", *(tmpfs.options or ())))
    for bind in map(fields.Bind.parse, settings.binds or ()):
        options = ("rw", "rbind", "rshared") if bind.options is None else (*bind.options, "rbind")
        mounts.append(_mount(bind.destination, "bind", bind.source, *options))
    for mount in settings.mounts or ():
        type, source, destination = fields.complete_mount(mount.type, mount.source, mount.destination)
        mounts.append(mount.model_copy(update={"type": type, "source": source, "destination": destination}))
    by_destination = {mount.destination: mount for mount in mounts}
    return sorted(by_destination.values(), key=lambda mount: mount.destination.encode())


def _process(settings: ImageLabel, ids: Mapping[str, int]) -> dict[str, Plain]:
    further = tuple(fields.user_id(each, ids) for each in settings.additional_gids or ())
    user: dict[str, Plain] = {"uid": fields.user_id(settings.uid, ids), "gid": fields.user_id(settings.gid, ids)}
    limits: tuple[Plain, ...] = tuple(
        {"type": limit.type, "hard": limit.hard, "soft": limit.soft}
        for limit in map(fields.Limit.parse, settings.rlimits or ())
    )
    return {
        "user": user | _given(additionalGids=further),
        **_given(args=settings.command, env=settings.env),
        "cwd": settings.cwd,
        "capabilities": _capabilities(settings),
        **_given(rlimits=limits),
        **({"noNewPrivileges": True} if settings.no_new_privileges else {}),
        **({"oomScoreAdj": settings.oom_score_adj} if settings.oom_score_adj is not None else {}),
    }


def _capabilities(settings: ImageLabel) -> dict[str, Plain]:
    effective = fields.capabilities(settings.capabilities or ())
    ambient = fields.capabilities(settings.ambient or ())
    bounding = tuple(sorted({*effective, *ambient}))
    return _given(bounding=bounding, effective=effective, inheritable=bounding, permitted=bounding, ambient=ambient)


def _linux(settings: ImageLabel) -> dict[str, Plain]:
    mappings = {
        name: tuple(ocispec.json_form(ocispec.ID_MAPPING, each) for each in values or ())
        for name, values in (("uidMappings", settings.uid_mappings), ("gidMappings", settings.gid_mappings))
    }
    return {
        **_given(**mappings, sysctl=_sorted(settings.sysctl)),
        "resources": _resources(settings),
        **_given(cgroupsPath=settings.cgroups_path),
        "namespaces": tuple(_namespaces(settings)),
        **_given(
            devices=tuple(_device(each) for each in settings.devices or () if each.path != "all"),
            rootfsPropagation=settings.rootfs_propagation,
            maskedPaths=settings.masked_paths,
            readonlyPaths=settings.readonly_paths,
        ),
    }


def _namespaces(settings: ImageLabel) -> list[Plain]:
    found: list[Plain] = []
    for key, type, default in _NAMESPACES:
        wanted = getattr(settings, key) or default
        if wanted in _PRIVATE:
            found.append({"type": type})
        elif wanted not in _SHARED:
            found.append({"type": type, "path": wanted})
    return [*found, {"type": "mount"}]


def _resources(settings: ImageLabel) -> dict[str, Plain]:
    given = ocispec.json_form(ocispec.RESOURCES, settings.resources) if settings.resources else {}
    rules = [*_rules(given), *(_device_rule(each) for each in settings.devices or ())]
    return _given(devices=tuple(rules)) | {name: value for name, value in given.items() if name != "devices"}


def _rules(resources: Mapping[str, Plain]) -> tuple[Plain, ...]:
    rules = resources.get("devices", ())
    return rules if isinstance(rules, tuple) else ()


def _device(device: Device) -> dict[str, Plain]:
    mode = fields.octal(device.mode) if device.mode else fields.DEFAULT_DEVICE_MODE
    node: dict[str, Plain] = {"path": device.path, "type": device.type, "major": device.major, "minor": device.minor}
    return node | {"fileMode": mode}


def _device_rule(device: Device) -> dict[str, Plain]:
    numbers: dict[str, Plain] = {} if device.path == "all" else {"major": device.major, "minor": device.minor}
    return {"allow": True, **_given(type=device.type), **numbers, "access": "rwm"}
