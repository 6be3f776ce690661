"""Several files into one configuration, left to right.

Lists are joined and nothing is replaced by name. Of the kernel's keys, a later text that is not empty replaces an
earlier one; ``tar`` and ``ucode`` are replaced as soon as they are given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from moby.config.model import Config, KernelSpec, TrustSpec
from moby.config.places import Path, Places

_Fact = TypeVar("_Fact")

_LISTS = ("init", "onboot", "onshutdown", "services", "files", "volumes")
_TRUST_LISTS = ("image", "org", "keys")


def merge(first: Config, second: Config) -> Config:
    """``first`` with ``second`` added; knows the places and notices of both."""
    lists = {name: _join(getattr(first, name), getattr(second, name)) for name in _LISTS}
    kernel, trust = _kernel(first.kernel, second.kernel), _trust(first.trust, second.trust)
    verity = first.verity if second.verity is None else second.verity
    merged = first.model_copy(update={**lists, "kernel": kernel, "trust": trust, "verity": verity})
    outputs = (*first.outputs, *second.outputs)
    return merged.at(_places(first, second), (*first.notices, *second.notices), outputs)


def _join(first: tuple[object, ...] | None, second: tuple[object, ...] | None) -> tuple[object, ...] | None:
    if first is None or second is None:
        return second if first is None else first
    return (*first, *second)


def _kernel(first: KernelSpec | None, second: KernelSpec | None) -> KernelSpec | None:
    if first is None or second is None:
        return first or second
    return first.model_copy(update={name: getattr(second, name) for name in _replaced(second)})


def _replaced(kernel: KernelSpec | None) -> list[str]:
    if kernel is None:
        return []
    given = [name for name in ("image", "cmdline", "binary") if getattr(kernel, name)]
    return given + [name for name in ("tar", "ucode") if getattr(kernel, name) is not None]


def _trust(first: TrustSpec | None, second: TrustSpec | None) -> TrustSpec | None:
    if first is None or second is None:
        return first or second
    return first.model_copy(update={name: _join(getattr(first, name), getattr(second, name)) for name in _TRUST_LISTS})


def _places(first: Config, second: Config) -> Places:
    offsets = {name: len(getattr(first, name) or ()) for name in _LISTS}
    offsets["outputs"] = len(first.outputs)
    offsets |= {f"trust.{name}": len(getattr(first.trust, name) or ()) if first.trust else 0 for name in _TRUST_LISTS}
    replaced = _replaced(second.kernel)

    def moved(path: Path) -> Path | None:
        """Where a path of the second file is in the result, or None when the first file's value stands."""
        if len(path) >= 2 and path[0] in offsets and isinstance(path[1], int):
            return (path[0], path[1] + offsets[str(path[0])], *path[2:])
        if len(path) == 3 and path[0] == "trust" and isinstance(path[2], int):
            return (*path[:2], path[2] + offsets.get(f"trust.{path[1]}", 0))
        if len(path) == 2 and path[0] == "kernel" and path[1] not in replaced:
            return path if path not in first.places.values else None
        return path if len(path) == 2 or path not in first.places.values else None

    def joined(ours: Mapping[Path, _Fact], theirs: Mapping[Path, _Fact]) -> dict[Path, _Fact]:
        return {**ours, **{place: fact for path, fact in theirs.items() if (place := moved(path)) is not None}}

    a, b = first.places, second.places
    # Messages number the items as their own file does.
    own: dict[Path, Path] = {path: path for path in b.values if len(path) == 2 and offsets.get(str(path[0]))}
    return Places(
        file=a.file or b.file,
        values=joined(a.values, b.values),
        keys=joined(a.keys, b.keys),
        written=joined(a.written, b.written),
        spelled=joined(a.spelled, {**own, **b.spelled}),
    )
