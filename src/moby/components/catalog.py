"""Finds recipes: the shipped ones by name, a user's own by path.

In a wheel the shipped recipes are package data below ``moby/data``; in a checkout they are ``pkg/`` and ``kernel/`` at
its top. ``kernel`` is the default series, ``kernel-6.1`` another one.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from moby.components.recipe import FILE_NAME
from moby.errors import ConfigError

DEFAULT_SERIES = "6.12"
_PACKAGE = Path(__file__).parents[1]


def shipped_root() -> Path:
    """The directory that holds ``pkg`` and ``kernel``."""
    data = _PACKAGE / "data"
    return data if (data / "pkg").is_dir() else _PACKAGE.parents[1]


def directory(name: str, base: Path | None = None, *, root: Path | None = None) -> Path:
    """The recipe directory that ``name`` means.

    Without a slash it is a shipped recipe; ``./dir`` and ``/dir`` are the user's, relative to ``base`` (the directory
    of the YAML file). Raises ``ConfigError`` with the nearest shipped name when there is none.
    """
    root = root or shipped_root()
    if "/" in name:
        path = ((base or Path()) / name).resolve()
    elif name == "kernel" or name.startswith("kernel-"):
        path = root / "kernel" / (name.partition("-")[2] or DEFAULT_SERIES)
    else:
        path = root / "pkg" / name
    if name in ("", ".", "..") or not (path / FILE_NAME).is_file():
        near = difflib.get_close_matches(name, names(root), 1)
        fix = f"did you mean {near[0]}?" if near else f"a recipe is a directory with {FILE_NAME}"
        shown = f"{path} has no {FILE_NAME}" if "/" in name else "none is shipped under this name"
        raise ConfigError(f"no component {name!r}: {shown}", fix=fix)
    return path


def names(root: Path | None = None) -> tuple[str, ...]:
    """Every shipped component, sorted."""
    root = root or shipped_root()
    packages = {path.parent.name for path in (root / "pkg").glob(f"*/{FILE_NAME}")}
    series = {path.parent.name for path in (root / "kernel").glob(f"*/{FILE_NAME}")}
    kernels = {f"kernel-{each}" for each in series}
    return tuple(sorted(packages | kernels | ({"kernel"} if DEFAULT_SERIES in series else set())))
