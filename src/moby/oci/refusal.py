"""What a registry's bad answer, or none, means for the person who waits for the image."""

from __future__ import annotations

import json

import httpx

from moby.errors import RegistryError, UnreachableError
from moby.http import redact

_MAX_BYTES = 16 << 10


def unreachable(url: str, error: httpx.TransportError | httpx.InvalidURL) -> UnreachableError:
    """The error for a server that could not be talked to."""
    why = str(error) or type(error).__name__
    fix = "check your network and try again"
    if "refused" in why:
        fix = "is the registry running?"
    elif "WRONG_VERSION_NUMBER" in why.upper():
        fix = "if it speaks plain http, say so with --plain-http HOST"
    elif "ALERT" in why.upper() and "CERTIFICATE" in why.upper():
        fix = "it wants a client certificate: --client-cert HOST=CERT.pem,KEY.pem"
    elif "CERTIFICATE" in why.upper():
        fix = "give its certificate authority with --cert-file PEM"
    elif "resolution" in why or "not known" in why:
        fix = "check the registry's name and your network"
    return UnreachableError(f"cannot be reached: {why[:200]}", where=redact(url), fix=fix)


def refusal(response: httpx.Response, url: str) -> RegistryError:
    """The error for an answer that is not a success; reads what the body says."""
    status = response.status_code
    said = _said(response)
    what = f"status {status}" + (f", {said}" if said else "")
    writing = response.request.method not in ("GET", "HEAD")
    if status == 404:
        return RegistryError(f"not found ({what})", where=redact(url), fix="check the name and the tag")
    if status in (401, 403) and writing:
        fix = "log in to the registry with an account that may push: docker login, podman login"
        return RegistryError(f"it lets us not write there ({what})", where=redact(url), fix=fix)
    if status in (401, 403):
        fix = "check the name; if the image is private, log in to the registry"
        return RegistryError(f"it does not exist, or not for us ({what})", where=redact(url), fix=fix)
    if status == 429:
        return RegistryError(f"too many requests ({what})", where=redact(url), fix="wait, or use a mirror: --mirror")
    if "DIGEST_INVALID" in said and writing:
        fix = "moby cache verify tells whether the store's copy is damaged"
        return RegistryError(f"the registry got other bytes than announced ({what})", where=redact(url), fix=fix)
    return RegistryError(f"the registry failed ({what})", where=redact(url), fix="try again later")


def start_of(response: httpx.Response) -> bytes:
    """The first bytes of a body that may be of any size."""
    data = b""
    for chunk in response.iter_raw():
        data += chunk[: _MAX_BYTES - len(data)]
        if len(data) >= _MAX_BYTES:
            break
    return data


def _said(response: httpx.Response) -> str:
    """The registry's own words (OCI distribution specification, "Error Codes"), made safe to print."""
    try:
        error = json.loads(start_of(response))["errors"][0]
        text = f"{error.get('code', '')}: {error.get('message', '')}"
    except (ValueError, LookupError, TypeError, AttributeError, httpx.TransportError):
        return ""
    return redact("".join(each for each in text if each.isprintable())[:200])
