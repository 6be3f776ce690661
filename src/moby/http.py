"""One HTTP client for everything: time-outs always set, redirects followed by the caller, secrets out of messages."""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from moby import __version__
from moby.errors import ConfigError

if TYPE_CHECKING:
    import httpx

_SECRET = re.compile(r"(?i)([?&](?:sig|signature|token|x-amz-[a-z-]+|x-goog-[a-z-]+|_state)=)[^&\s]+|(//)[^/@\s]+@")


def client(*, certificates: Sequence[Path] = (), transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """A client with our time-outs: 10 s to connect, 60 s of silence.

    ``certificates`` are PEM files added to the system's. Raises ``ConfigError`` when one cannot be read.
    """
    import httpx  # slow to import, so only where the network is used

    context = ssl.create_default_context()
    for path in certificates:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot read certificate: {error}", where=str(path)) from error
    return httpx.Client(
        verify=context,
        transport=transport,
        # A proxy of the environment is for other machines.
        mounts=dict.fromkeys(("all://localhost", "all://127.0.0.1", "all://[::1]")) if transport is None else None,
        timeout=httpx.Timeout(60, connect=10),
        headers={"User-Agent": f"moby/{__version__}"},
        follow_redirects=False,
    )


def redact(text: str) -> str:
    """``text`` without credentials and signatures of URLs."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}…" + ("@" if found[2] else ""), text)
