"""YAML config → resolved images → root filesystem → output → machine.

``moby.build`` and ``moby.run`` are the public interface (see ``api.py``); they are imported on first use, so that
``import moby`` costs nothing.
"""

from __future__ import annotations

# Type checkers know this name; `typing` itself would be a good part of the time that `moby --help` takes.
TYPE_CHECKING = False

__version__ = "0.1.0"

if TYPE_CHECKING:
    from moby.api import BuildOptions, architecture, build, run

__all__ = ["BuildOptions", "__version__", "architecture", "build", "run"]


def __getattr__(name: str) -> object:
    """Import the public names of ``api`` when they are first used (PEP 562)."""
    if name in __all__:
        from moby import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
