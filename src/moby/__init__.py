"""YAML config → resolved images → root filesystem → output → machine.

The names of ``__all__`` are the public interface: ``api.py`` has ``build``, ``machines/start.py`` has ``run``. Each is
imported on first use, so that ``import moby`` costs nothing.
"""

from __future__ import annotations

# Type checkers know this name; `typing` itself would be a good part of the time that `moby --help` takes.
TYPE_CHECKING = False

__version__ = "0.1.0"

if TYPE_CHECKING:
    from moby.api import build
    from moby.artifact import Artifact
    from moby.config.model import Config
    from moby.context import Context
    from moby.errors import MobyError
    from moby.machines.machine import Machine
    from moby.machines.options import RunOptions
    from moby.machines.start import run
    from moby.options import BuildOptions, architecture

__all__ = [
    "Artifact",
    "BuildOptions",
    "Config",
    "Context",
    "Machine",
    "MobyError",
    "RunOptions",
    "__version__",
    "architecture",
    "build",
    "run",
]

_HOMES = {
    "Artifact": "moby.artifact",
    "BuildOptions": "moby.options",
    "Config": "moby.config.model",
    "Context": "moby.context",
    "Machine": "moby.machines.machine",
    "MobyError": "moby.errors",
    "RunOptions": "moby.machines.options",
    "architecture": "moby.options",
    "run": "moby.machines.start",
}


if not TYPE_CHECKING:  # else any name would pass for one of ours

    def __getattr__(name: str) -> object:
        """Import the public names when they are first used (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        return getattr(import_module(_HOMES.get(name, "moby.api")), name)
