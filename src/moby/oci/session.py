"""HTTP as registries need it: tokens, redirects, waiting when told to, and errors a person understands."""

from __future__ import annotations

import contextlib
import email.utils
import json
import time
from collections.abc import Callable, Iterator, Mapping

import httpx

from moby import log
from moby.errors import RegistryError
from moby.http import redact
from moby.oci.auth import Anonymous, Authorizer, Keychain, challenges
from moby.oci.endpoint import Endpoint

# Statuses that may pass: RFC 6585 (429) and RFC 9110.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MAX_REDIRECTS = 5
_ATTEMPTS = 5
_MAX_WAIT_S = 60.0
_MAX_ERROR_BYTES = 16 << 10
_MAX_TOKEN_BYTES = 1 << 20


class Session:
    """Requests to registries over one HTTP client. Threads may share it."""

    def __init__(
        self,
        client: httpx.Client,
        *,
        keychain: Keychain | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._authorizer = Authorizer(keychain or Anonymous())
        self._sleep = sleep

    @contextlib.contextmanager
    def get(
        self, url: str, *, endpoint: Endpoint | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """A successful response whose body is still to be read, undecoded.

        ``endpoint`` is whose credentials may be used, on its own server only. Raises ``RegistryError`` that names the
        URL, redacted; reading the body may raise ``httpx.TransportError``.
        """
        response = self._patiently(lambda: self._follow(httpx.URL(url), endpoint, headers or {}), url)
        try:
            if not response.is_success:
                raise _refusal(response, url)
            yield response
        finally:
            response.close()

    def read(
        self, url: str, limit_bytes: int, *, endpoint: Endpoint | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, httpx.Headers]:
        """A whole small body and its headers. Raises ``RegistryError``, also past ``limit_bytes``."""
        for attempt in range(_ATTEMPTS):
            try:
                with self.get(url, endpoint=endpoint, headers=headers) as response:
                    return _bounded(response, limit_bytes, url), response.headers
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS - 1:
                    raise unreachable(url, error) from error
                self.wait(attempt)
        raise AssertionError("unreachable")

    def wait(self, attempt: int) -> None:
        """Half a second, doubled with each attempt."""
        self._sleep(min(0.5 * 2**attempt, _MAX_WAIT_S))

    def is_plain(self, host: str) -> bool:
        """Whether a server of this machine speaks http; one that is down counts as plain."""
        try:
            with self._client.stream("GET", f"http://{host}/v2/", timeout=5) as response:
                return not (response.status_code == 400 and b"HTTPS" in _some(response))
        except (httpx.RemoteProtocolError, httpx.ReadError):
            return False
        except httpx.TransportError:
            return True

    def _patiently(self, send: Callable[[], httpx.Response], url: str) -> httpx.Response:
        """Send until the answer is final, at most ``_ATTEMPTS`` times."""
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                response = send()
            except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise unreachable(url, error) from error
            except httpx.TransportError as error:
                if last:
                    raise unreachable(url, error) from error
                self.wait(attempt)
                continue
            if response.status_code not in _PASSING or last:
                return response
            self._wait_as_told(response, attempt, url)
        raise AssertionError("unreachable")

    def _wait_as_told(self, response: httpx.Response, attempt: int, url: str) -> None:
        wanted_s = _retry_after_s(response.headers.get("retry-after", ""))
        log.debug(f"{redact(url)}: status {response.status_code}, trying again")
        if wanted_s is None:
            response.close()
            self.wait(attempt)
            return
        if wanted_s > _MAX_WAIT_S:
            with contextlib.closing(response):
                raise _refusal(response, url)
        response.close()
        self._sleep(wanted_s)

    def _follow(self, url: httpx.URL, endpoint: Endpoint | None, headers: Mapping[str, str]) -> httpx.Response:
        """Follow redirects; credentials go to the endpoint's own server and nowhere else."""
        renewed = False
        for _ in range(_MAX_REDIRECTS + 1):
            own = endpoint if endpoint is not None and _origin(url) == _origin(httpx.URL(endpoint.base)) else None
            header = self._authorizer.header(own) if own else None
            response = self._send(url, headers, header)
            if response.status_code == 401 and own is not None and not renewed:
                renewed = True
                if self._renew(own, header, response):
                    response = self._send(url, headers, self._authorizer.header(own))
            if response.status_code not in _REDIRECTS:
                return response
            response.close()
            url = _next(url, response.headers.get("location", ""))
        raise RegistryError(f"more than {_MAX_REDIRECTS} redirects", where=redact(str(url)))

    def _renew(self, endpoint: Endpoint, refused: str | None, response: httpx.Response) -> bool:
        offers = challenges(response.headers.get_list("www-authenticate"))
        try:
            renewed = self._authorizer.renew(endpoint, refused, offers, self._fetch)
        except BaseException:
            response.close()
            raise
        if renewed:
            response.close()
        return renewed

    def _fetch(self, url: str, authorization: str | None) -> bytes:
        return self.read(url, _MAX_TOKEN_BYTES, headers={"Authorization": authorization} if authorization else {})[0]

    def _send(self, url: httpx.URL, headers: Mapping[str, str], authorization: str | None) -> httpx.Response:
        # Digests are those of the bytes as stored, so nothing may be compressed on the way.
        sent = {"Accept-Encoding": "identity", **headers}
        if authorization is not None:
            sent["Authorization"] = authorization
        return self._client.send(self._client.build_request("GET", url, headers=sent), stream=True)


def unreachable(url: str, error: httpx.TransportError | httpx.InvalidURL) -> RegistryError:
    """The error for a server that could not be talked to."""
    why = str(error) or type(error).__name__
    fix = "check your network and try again"
    if "refused" in why:
        fix = "is the registry running?"
    elif "CERTIFICATE" in why.upper():
        fix = "give its certificate authority with --cert-file PEM"
    elif "resolution" in why or "not known" in why:
        fix = "check the registry's name and your network"
    return RegistryError(f"cannot be reached: {why[:200]}", where=redact(url), fix=fix)


def _refusal(response: httpx.Response, url: str) -> RegistryError:
    """The error for an answer that is not a success."""
    status = response.status_code
    said = _said(response)
    what = f"status {status}" + (f", {said}" if said else "")
    if status == 404:
        return RegistryError(f"not found ({what})", where=redact(url), fix="check the name and the tag")
    if status in (401, 403):
        fix = "check the name; if the image is private, log in to the registry"
        return RegistryError(f"it does not exist, or not for us ({what})", where=redact(url), fix=fix)
    if status == 429:
        return RegistryError(f"too many requests ({what})", where=redact(url), fix="wait, or use a mirror: --mirror")
    return RegistryError(f"the registry failed ({what})", where=redact(url), fix="try again later")


def _said(response: httpx.Response) -> str:
    """The registry's own words (OCI distribution specification, "Error Codes"), made safe to print."""
    try:
        error = json.loads(_some(response))["errors"][0]
        text = f"{error.get('code', '')}: {error.get('message', '')}"
    except (ValueError, LookupError, TypeError, AttributeError, httpx.TransportError):
        return ""
    return redact("".join(each for each in text if each.isprintable())[:200])


def _some(response: httpx.Response) -> bytes:
    data = b""
    for chunk in response.iter_raw():
        data += chunk[: _MAX_ERROR_BYTES - len(data)]
        if len(data) >= _MAX_ERROR_BYTES:
            break
    return data


def _bounded(response: httpx.Response, limit_bytes: int, url: str) -> bytes:
    data = bytearray()
    announced = response.headers.get("content-length", "")
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > limit_bytes or (announced.isdigit() and int(announced) > limit_bytes):
            raise RegistryError(f"answer is larger than {limit_bytes} bytes", where=redact(url))
    return bytes(data)


def _retry_after_s(text: str) -> float | None:
    """Seconds to wait: a number or a date (RFC 9110 section 10.2.3). None when absent or malformed."""
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError):
        return None


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port


def _next(url: httpx.URL, location: str) -> httpx.URL:
    target = url.join(location)  # the library refused what is no URL
    if not location or target.scheme not in ("http", "https") or not target.host:
        raise RegistryError(f"redirects to {redact(location)[:200]!r}", where=redact(str(url)))
    if url.scheme == "https" and target.scheme == "http":
        raise RegistryError("redirects from https to plain http", where=redact(str(url)))
    return target
