"""What a container's settings are once its YAML, its image's label and its image's configuration are put together.

YAML wins over the label, the label over the image, the image over the default. Lists and maps are replaced whole; only
``capabilities.add`` and ``binds.add`` join theirs to the label's.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from moby.config.container import BindNamespaces, ImageLabel, Runtime
from moby.config.fields import join_capabilities
from moby.oci.manifest import ImageConfig

# A value that is given wins, even an empty one.
_IF_GIVEN: Mapping[str, object] = {
    **dict.fromkeys(("ambient", "mounts", "devices", "tmpfs", "rlimits", "masked_paths", "readonly_paths"), ()),
    **dict.fromkeys(("additional_gids", "uid_mappings", "gid_mappings"), ()),
    "sysctl": {},
    "annotations": {},
    **dict.fromkeys(("readonly", "no_new_privileges"), False),
    **dict.fromkeys(("rootfs_propagation", "cgroups_path"), ""),
    **dict.fromkeys(("uid", "gid"), 0),
    **dict.fromkeys(("resources", "oom_score_adj"), None),
}
# Only a text that is not empty wins.
_IF_NOT_EMPTY = ("net", "pid", "ipc", "uts", "userns", "hostname")
_RUNTIME: Mapping[str, object] = {**dict.fromkeys(("cgroups", "mounts", "mkdir", "interfaces"), ()), "namespace": ""}


class Origin(enum.StrEnum):
    """Where a value comes from."""

    YAML = "yaml"
    LABEL = "label"
    IMAGE = "image"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Effective:
    """The settings in force, and for each key (``capabilities``, ``runtime.mkdir``) where it comes from.

    Nothing in ``settings`` is None but ``resources`` and ``oom_score_adj``; the ``…_add`` keys are spent.
    """

    settings: ImageLabel
    runtime: Runtime
    origins: Mapping[str, tuple[Origin, ...]]


def effective(entry: ImageLabel, label: ImageLabel | None, image: ImageConfig) -> Effective:
    """The settings of ``entry`` on an image with this label and configuration."""
    label = label or ImageLabel()
    chosen = {name: _first(entry, label, name, default) for name, default in _IF_GIVEN.items()}
    chosen |= {name: _first_text(entry, label, name) for name in _IF_NOT_EMPTY}
    chosen["command"] = _image_value(entry, label, "command", _image_command(image))
    chosen["env"] = _image_value(entry, label, "env", image.env)
    chosen["cwd"] = _cwd(entry, label, image)
    chosen["capabilities"] = _capabilities(entry, label)
    chosen["binds"] = _binds(entry, label)
    runtime = _runtime(entry.runtime or Runtime(), label.runtime or Runtime())
    origins = {name: origin for name, (_, origin) in chosen.items()}
    values = {name: value for name, (value, _) in chosen.items()}
    values |= {"capabilities_add": None, "binds_add": None}
    return Effective(
        settings=entry.model_copy(update=values),
        runtime=Runtime().model_copy(update={name: value for name, (value, _) in runtime.items()}),
        origins=origins | {f"runtime.{name}": origin for name, (_, origin) in runtime.items()},
    )


_Chosen = tuple[object, tuple[Origin, ...]]


def _first(entry: object, label: object, name: str, default: object) -> _Chosen:
    for holder, origin in ((entry, Origin.YAML), (label, Origin.LABEL)):
        if (value := getattr(holder, name)) is not None:
            return value, (origin,)
    return default, (Origin.DEFAULT,)


def _first_text(entry: ImageLabel, label: ImageLabel, name: str) -> _Chosen:
    for holder, origin in ((entry, Origin.YAML), (label, Origin.LABEL)):
        if value := getattr(holder, name):
            return value, (origin,)
    return "", (Origin.DEFAULT,)


def _image_value(entry: ImageLabel, label: ImageLabel, name: str, own: tuple[str, ...] | None) -> _Chosen:
    value, origins = _first(entry, label, name, own or ())
    return value, (Origin.IMAGE,) if own and origins == (Origin.DEFAULT,) else origins


def _image_command(image: ImageConfig) -> tuple[str, ...]:
    return (*(image.entrypoint or ()), *(image.cmd or ()))


def _cwd(entry: ImageLabel, label: ImageLabel, image: ImageConfig) -> _Chosen:
    value, origins = _first_text(entry, label, "cwd")
    if value:
        return value, origins
    return (image.working_dir, (Origin.IMAGE,)) if image.working_dir else ("/", (Origin.DEFAULT,))


def _capabilities(entry: ImageLabel, label: ImageLabel) -> _Chosen:
    if entry.capabilities is not None:
        return join_capabilities(entry.capabilities, ()), (Origin.YAML,)
    joined = join_capabilities(label.capabilities or (), entry.capabilities_add or ())
    return joined, _joined(label.capabilities, entry.capabilities_add)


def _binds(entry: ImageLabel, label: ImageLabel) -> _Chosen:
    if entry.binds is not None:
        return entry.binds, (Origin.YAML,)
    return (*(label.binds or ()), *(entry.binds_add or ())), _joined(label.binds, entry.binds_add)


def _joined(label: object, added: object) -> tuple[Origin, ...]:
    origins = [origin for origin, value in ((Origin.LABEL, label), (Origin.YAML, added)) if value is not None]
    return tuple(origins) or (Origin.DEFAULT,)


def _runtime(entry: Runtime, label: Runtime) -> dict[str, _Chosen]:
    chosen = {name: _first(entry, label, name, default) for name, default in _RUNTIME.items()}
    ours, theirs = entry.bind_ns or BindNamespaces(), label.bind_ns or BindNamespaces()
    paths = {name: _first(ours, theirs, name, "") for name in BindNamespaces.model_fields}
    origins = {origin for _, (origin,) in paths.values()}
    bound = BindNamespaces().model_copy(update={name: value for name, (value, _) in paths.items()})
    return chosen | {"bind_ns": (bound, tuple(sorted(origins)))}
