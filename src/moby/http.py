"""One HTTP client for everything: time-outs always set, redirects followed by the caller, secrets out of messages."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moby import __version__
from moby.errors import ConfigError

if TYPE_CHECKING:
    import ssl

    import httpx

_LOCAL = ("all://localhost", "all://127.0.0.1", "all://[::1]")
_SECRET = re.compile(r"(?i)([?&](?:sig|signature|token|x-amz-[a-z-]+|x-goog-[a-z-]+|_state)=)[^&\s]+|(//)[^/@\s]+@")


def client(
    *,
    certificates: Sequence[Path] = (),
    servers: Mapping[str, ssl.SSLContext] | None = None,
    transport: httpx.BaseTransport | None = None,
) -> httpx.Client:
    """A client with our time-outs: 10 s to connect, 60 s of silence.

    ``certificates`` are PEM files added to the system's; ``servers`` maps ``host[:port]`` to settings of its own.
    Raises ``ConfigError`` when a certificate cannot be read.
    """
    import httpx  # slow to import, so only where the network is used

    # A proxy of the environment is for other machines.
    mounts: dict[str, httpx.BaseTransport | None] = dict.fromkeys(_LOCAL) if transport is None else {}
    mounts |= {f"https://{name}": _own_transport(name, context) for name, context in (servers or {}).items()}
    return httpx.Client(
        verify=tls(certificates),
        transport=transport,
        mounts=mounts,
        timeout=httpx.Timeout(60, connect=10),
        headers={"User-Agent": f"moby/{__version__}"},
        follow_redirects=False,
    )


def tls(certificates: Sequence[Path] = (), *, identity: tuple[Path, Path | None] | None = None) -> ssl.SSLContext:
    """Settings that trust the system's authorities and ``certificates``, and show ``identity`` (certificate, key).

    A key of None is in the certificate's file. Raises ``ConfigError`` when a file cannot be read.
    """
    import ssl  # slow to import as well

    context = _context()
    for path in certificates:
        try:
            context.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise ConfigError(f"cannot read certificate: {error}", where=str(path)) from error
    if identity is not None:
        try:
            # An encrypted key must fail, not ask on the terminal.
            context.load_cert_chain(*identity, password=lambda: "")
        except (OSError, ssl.SSLError) as error:
            fix = "give a PEM certificate and its key, unencrypted"
            raise ConfigError(f"cannot use client certificate: {error}", where=str(identity[0]), fix=fix) from error
    return context


def _context() -> ssl.SSLContext:
    """As ``ssl.create_default_context``, but the system's authorities are read when a connection needs them.

    Reading them takes longer than a request, and servers without TLS are asked with the same client.
    """
    import ssl

    class Context(ssl.SSLContext):
        _is_loaded = False

        def wrap_socket(self, *given: Any, **named: Any) -> ssl.SSLSocket:
            self._load()
            return super().wrap_socket(*given, **named)

        def wrap_bio(self, *given: Any, **named: Any) -> ssl.SSLObject:
            self._load()
            return super().wrap_bio(*given, **named)

        def _load(self) -> None:
            if not self._is_loaded:
                self.load_default_certs()
                self._is_loaded = True

    context = Context(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificates and names of hosts
    if sys.version_info >= (3, 13):
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_X509_STRICT
    return context


def _own_transport(name: str, context: ssl.SSLContext) -> httpx.BaseTransport:
    """The transport of one server, by way of the environment's proxy like all others."""
    import urllib.request  # slow to import as well

    import httpx

    bypass = f"all://{name.rpartition(':')[0] or name}" in _LOCAL or urllib.request.proxy_bypass(name)
    proxy = None if bypass else urllib.request.getproxies().get("https")
    return httpx.HTTPTransport(verify=context, proxy=proxy)


def retry_after_s(text: str) -> float | None:
    """Seconds to wait: a number or a date (RFC 9110 section 10.2.3). None when absent or malformed."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    import email.utils  # slow to import, and rarely needed

    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def redact(text: str) -> str:
    """``text`` without credentials and signatures of URLs."""
    return _SECRET.sub(lambda found: f"{found[1] or found[2]}…" + ("@" if found[2] else ""), text)
