"""The structures that the configuration shares with the OCI runtime specification, and how they are spelt.

Source: runtime-spec 1.2.1, config.md and config-linux.md. One table serves three spellings: ``config.json`` and the
JSON metadata use the specification's names and leave out what is not set; the YAML metadata uses them in lower case and
shows everything.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from moby.config.fields import page_size
from moby.config.spec import Spec

Plain = None | bool | int | str | Sequence["Plain"] | Mapping[str, "Plain"]


@dataclass(frozen=True, slots=True)
class Field:
    """One member of a structure. ``attribute`` is the model's name for it, empty when the language has no such key.

    ``unset`` is what the YAML form shows when it is not given; ``always`` says that JSON shows it too.
    """

    name: str
    attribute: str = ""
    unset: Plain = None
    always: bool = False
    inner: tuple[Field, ...] = ()


def _text(name: str, *, always: bool = False) -> Field:
    return Field(name, name, "", always)


def _number(name: str, attribute: str = "", *, always: bool = False) -> Field:
    return Field(name, attribute or name, 0 if always else None, always)


def _list(name: str, attribute: str = "", inner: tuple[Field, ...] = ()) -> Field:
    return Field(name, attribute or name, (), inner=inner)


ID_MAPPING = (
    _number("containerID", "container_id", always=True),
    _number("hostID", "host_id", always=True),
    _number("size", always=True),
)
MOUNT = (
    _text("destination", always=True),
    _text("type"),
    _text("source"),
    _list("options"),
    _list("uidMappings", "uid_mappings", ID_MAPPING),
    _list("gidMappings", "gid_mappings", ID_MAPPING),
)
DEVICE_RULE = (
    Field("allow", "allow", False, always=True),
    _text("type"),
    _number("major"),
    _number("minor"),
    _text("access"),
)
MEMORY = (
    *(_number(name) for name in ("limit", "reservation", "swap", "kernel")),
    _number("kernelTCP", "kernel_tcp"),
    _number("swappiness"),
    _number("disableOOMKiller", "disable_oom_killer"),
    Field("useHierarchy"),
    Field("checkBeforeUpdate"),
)
CPU = (
    _number("shares"),
    _number("quota"),
    Field("burst"),
    _number("period"),
    _number("realtimeRuntime", "realtime_runtime"),
    _number("realtimePeriod", "realtime_period"),
    _text("cpus"),
    _text("mems"),
    Field("idle"),
)
_NUMBERS = (_number("major", always=True), _number("minor", always=True))
WEIGHT_DEVICE = (*_NUMBERS, _number("weight"), _number("leafWeight", "leaf_weight"))
THROTTLE_DEVICE = (*_NUMBERS, _number("rate", always=True))
BLOCK_IO = (
    _number("weight"),
    _number("leafWeight", "leaf_weight"),
    _list("weightDevice", "weight_device", WEIGHT_DEVICE),
    _list("throttleReadBpsDevice", "throttle_read_bps_device", THROTTLE_DEVICE),
    _list("throttleWriteBpsDevice", "throttle_write_bps_device", THROTTLE_DEVICE),
    _list("throttleReadIOPSDevice", "throttle_read_iops_device", THROTTLE_DEVICE),
    _list("throttleWriteIOPSDevice", "throttle_write_iops_device", THROTTLE_DEVICE),
)
HUGEPAGE_LIMIT = (Field("pageSize", "page_size", "", always=True), _number("limit", always=True))
PRIORITY = (_text("name", always=True), _number("priority", always=True))
NETWORK = (_number("classID", "class_id"), _list("priorities", inner=PRIORITY))
RESOURCES = (
    _list("devices", inner=DEVICE_RULE),
    Field("memory", "memory", inner=MEMORY),
    Field("cpu", "cpu", inner=CPU),
    Field("pids", "pids", inner=(_number("limit", always=True),)),
    Field("blockIO", "block_io", inner=BLOCK_IO),
    _list("hugepageLimits", "hugepage_limits", HUGEPAGE_LIMIT),
    Field("network", "network", inner=NETWORK),
    Field("rdma", unset={}),
    Field("unified", unset={}),
)


def json_form(shape: tuple[Field, ...], model: Spec) -> dict[str, Plain]:
    """``model`` with the specification's names, without what is not set."""
    form: dict[str, Plain] = {}
    for field in shape:
        value = _value(field, model, json_form)
        if field.attribute and value is not None and (field.always or value not in ("", ())):
            form[field.name] = value
    return form


def yaml_form(shape: tuple[Field, ...], model: Spec) -> dict[str, Plain]:
    """``model`` with lower-case names, everything shown."""
    return {field.name.lower(): _value(field, model, yaml_form) for field in shape}


def encode(value: Plain) -> bytes:
    """JSON as the original writes it: four spaces, no final newline, ``<``, ``>`` and ``&`` escaped."""
    text = json.dumps(value, indent=4, ensure_ascii=False)
    for letter in "<>&\u2028\u2029":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text.encode()


def _value(field: Field, model: Spec, form: Callable[[tuple[Field, ...], Spec], Plain]) -> Plain:
    value = getattr(model, field.attribute) if field.attribute else None
    if value is None:
        return field.unset
    if field.attribute == "page_size":
        return page_size(value)
    if not field.inner:
        return value  # type: ignore[no-any-return]  # a plain value of the model
    return tuple(form(field.inner, each) for each in value) if isinstance(value, tuple) else form(field.inner, value)
