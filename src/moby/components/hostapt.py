"""What the host's own apt is told, as far as it says how to reach a network."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from moby import proc
from moby.errors import CommandError

_LINE = re.compile(r'(?P<key>\S+) "(?P<value>[^"]*)";')


def settings(environment: Mapping[str, str]) -> dict[str, str]:
    """All of ``apt-config dump``; empty on a host without apt. Of a repeated key the last value is given."""
    try:
        dump = proc.run(["apt-config", "dump", "--no-empty"], env=environment, timeout_s=20)
    except CommandError:
        return {}
    return {found["key"]: found["value"] for found in _LINE.finditer(dump.decode(errors="replace"))}


def proxy(url: str, settings: Mapping[str, str]) -> str | None:
    """The proxy that apt would use for ``url``; None for a direct connection. Source: apt-transport-http(1)."""
    parts = urlsplit(url)
    base = f"Acquire::{parts.scheme}::Proxy"
    named = settings.get(f"{base}::{parts.hostname}", settings.get(base, ""))
    return None if named in ("", "DIRECT") else named
