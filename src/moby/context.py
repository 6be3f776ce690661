"""What every command needs from its surroundings: directories, the network client, the mirror."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """The surroundings of one command.

    ``store`` is the OCI image layout that holds images; ``work`` holds everything that can be made again (packages,
    tools, segments, probes). ``environment`` is a copy of the process's variables. ``plain_http`` are registries that
    are spoken to without TLS, ``client_certificates`` texts as ``--client-cert`` takes them.
    """

    store: Path
    work: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    certificates: tuple[Path, ...] = ()
    mirrors: tuple[str, ...] = ()
    debian_mirror: str | None = None
    plain_http: tuple[str, ...] = ()
    client_certificates: tuple[str, ...] = ()
    _network: _Network = field(default_factory=lambda: _Network(), init=False, repr=False, compare=False)

    @classmethod
    def from_environment(
        cls,
        environment: Mapping[str, str] | None = None,
        *,
        store: Path | None = None,
        certificates: Sequence[Path] = (),
        mirrors: Sequence[str] = (),
        debian_mirror: str | None = None,
        plain_http: Sequence[str] = (),
        client_certificates: Sequence[str] = (),
    ) -> Context:
        """Flags win over ``MOBY_X``, then ``LINUXKIT_X``, then the XDG cache directory."""
        environment = dict(os.environ if environment is None else environment)
        home = Path(environment.get("HOME") or Path.home())
        work = Path(environment.get("XDG_CACHE_HOME") or home / ".cache") / "moby"
        named = variable(environment, "CACHE")
        return cls(
            store=store or (Path(named).expanduser() if named else work / "store"),
            work=work,
            environment=environment,
            certificates=tuple(certificates),
            mirrors=(*listed(environment, "MIRROR"), *mirrors),
            debian_mirror=debian_mirror or variable(environment, "DEBIAN_MIRROR"),
            plain_http=(*listed(environment, "PLAIN_HTTP"), *plain_http),
            client_certificates=tuple(client_certificates),
        )

    @property
    def verified(self) -> Path:
        """Where notes are kept about blobs of the store that were found right."""
        return self.work / "verified"

    def client(self) -> httpx.Client:
        """The HTTP client of this context, made on first use and closed with the context."""
        return self._network.client(self.certificates)


class _Network:
    """Holds the one client of a context. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._client: httpx.Client | None = None

    def client(self, certificates: tuple[Path, ...]) -> httpx.Client:
        with self._lock:
            if self._client is None:
                from moby import http  # slow to import, and few commands speak to the network

                self._client = http.client(certificates=certificates)
                weakref.finalize(self, self._client.close)
            return self._client


def variable(environment: Mapping[str, str], name: str) -> str | None:
    """``MOBY_name``, else ``LINUXKIT_name``, else None; an empty value counts as unset."""
    return environment.get(f"MOBY_{name}") or environment.get(f"LINUXKIT_{name}") or None


def listed(environment: Mapping[str, str], name: str) -> list[str]:
    """The words of ``variable``, separated by spaces or commas."""
    return (variable(environment, name) or "").replace(",", " ").split()
