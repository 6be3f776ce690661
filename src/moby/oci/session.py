"""HTTP as registries need it: tokens, redirects, waiting when told to, and errors a person understands."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field

import httpx

from moby import log
from moby.errors import RegistryError
from moby.http import redact, retry_after_s
from moby.oci.auth import Anonymous, Authorizer, Keychain, TokenRequest, challenges
from moby.oci.endpoint import Endpoint
from moby.oci.refusal import refusal, start_of, unreachable

# Statuses that may pass: RFC 6585 (429) and RFC 9110.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# Those that keep the method and the body (RFC 9110 section 15.4).
_STRICT_REDIRECTS = frozenset({307, 308})
_SAFE = frozenset({"GET", "HEAD"})
_MAX_REDIRECTS = 5
_ATTEMPTS = 5
_MAX_WAIT_S = 60.0
_MAX_TOKEN_BYTES = 1 << 20
_COMMIT_S = 600
_FINAL = (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol)
# OpenSSL's word for a refusal by the other side, which TLS 1.3 lets come as late as the first answer.
_TLS_REFUSAL = " alert "

# A body that can be sent again: bytes, or what gives its pieces.
Content = bytes | Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request. ``endpoint`` is whose credentials may be used, on its own server only.

    ``repeatable`` says that it may be sent again when it is not known whether the server acted on it; a registry that
    is busy (429) did not. A streamed ``content`` needs a Content-Length among the ``headers``.
    """

    method: str = "GET"
    url: str
    endpoint: Endpoint | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Content | None = None
    repeatable: bool = True


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
        self.sleep = sleep

    @contextlib.contextmanager
    def open(self, call: Call) -> Iterator[httpx.Response]:
        """The final response, whatever its status, with a body still to be read, undecoded.

        Raises ``RegistryError`` that names the URL, redacted; reading the body may raise ``httpx.TransportError``, as
        may sending a call that is not repeatable.
        """
        response = self._patiently(call)
        try:
            yield response
        finally:
            response.close()

    @contextlib.contextmanager
    def get(
        self, url: str, *, endpoint: Endpoint | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[httpx.Response]:
        """As ``open`` for a successful GET. Raises ``RegistryError`` for any other answer."""
        with self.open(Call(url=url, endpoint=endpoint, headers=headers or {})) as response:
            if not response.is_success:
                raise refusal(response, url)
            yield response

    def read(
        self, url: str, limit_bytes: int, *, endpoint: Endpoint | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[bytes, httpx.Headers]:
        """A whole small body and its headers. Raises ``RegistryError``, also past ``limit_bytes``."""
        found = self.fetch(Call(url=url, endpoint=endpoint, headers=headers or {}), limit_bytes)
        assert found is not None, "absence is an error here"
        return found

    def fetch(
        self, call: Call, limit_bytes: int, *, absent: Collection[int] = ()
    ) -> tuple[bytes, httpx.Headers] | None:
        """As ``read``, for any call; None for an answer whose status is one of ``absent``."""
        for attempt in range(_ATTEMPTS):
            try:
                with self.open(call) as response:
                    if response.status_code in absent:
                        return None
                    if not response.is_success:
                        raise refusal(response, call.url)
                    return _bounded(response, limit_bytes, call.url), response.headers
            except httpx.TransportError as error:
                if attempt == _ATTEMPTS - 1:
                    raise unreachable(call.url, error) from error
                self.wait(attempt)
        raise AssertionError("unreachable")

    def wait(self, attempt: int) -> None:
        """Half a second, doubled with each attempt."""
        self.sleep(min(0.5 * 2**attempt, _MAX_WAIT_S))

    def is_plain(self, host: str) -> bool:
        """Whether a server of this machine speaks http; one that is down counts as plain."""
        # The first try may meet a connection that was kept open here and closed over there.
        for _ in range(2):
            try:
                with self._client.stream("GET", f"http://{host}/v2/", timeout=5) as response:
                    return not (response.status_code == 400 and b"HTTPS" in start_of(response))
            except (httpx.RemoteProtocolError, httpx.ReadError):
                continue
            except httpx.TransportError:
                return True
        return False

    def _patiently(self, call: Call) -> httpx.Response:
        """Send until the answer is final, at most ``_ATTEMPTS`` times."""
        for attempt in range(_ATTEMPTS):
            last = attempt == _ATTEMPTS - 1
            try:
                response = self._follow(call)
            except httpx.InvalidURL as error:
                raise unreachable(call.url, error) from error
            except httpx.TransportError as error:
                final = isinstance(error, _FINAL) or _TLS_REFUSAL in str(error)
                if not (call.repeatable or final):
                    raise
                if last or final:
                    raise unreachable(call.url, error) from error
                self.wait(attempt)
                continue
            passing = _PASSING if call.repeatable else {429}
            if response.status_code not in passing or last:
                return response
            self._wait_as_told(response, attempt, call.url)
        raise AssertionError("unreachable")

    def _wait_as_told(self, response: httpx.Response, attempt: int, url: str) -> None:
        wanted_s = retry_after_s(response.headers.get("retry-after", ""))
        log.debug(f"{redact(url)}: status {response.status_code}, trying again")
        if wanted_s is None:
            response.close()
            self.wait(attempt)
            return
        if wanted_s > _MAX_WAIT_S:
            with contextlib.closing(response):
                raise refusal(response, url)
        response.close()
        self.sleep(wanted_s)

    def _follow(self, call: Call) -> httpx.Response:
        """Follow redirects; credentials go to the endpoint's own server and nowhere else."""
        url, endpoint, renewed = httpx.URL(call.url), call.endpoint, False
        redirects = _REDIRECTS if call.method in _SAFE else _STRICT_REDIRECTS
        for _ in range(_MAX_REDIRECTS + 1):
            own = endpoint if endpoint is not None and _origin(url) == _origin(httpx.URL(endpoint.base)) else None
            header = self._authorizer.header(own) if own else None
            response = self._send(call, url, header)
            if response.status_code == 401 and own is not None and not renewed:
                renewed = True
                if self._renew(own, header, response):
                    response = self._send(call, url, self._authorizer.header(own))
            if response.status_code not in redirects:
                return response
            response.close()
            url = onward(url, response.headers.get("location", ""))
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

    def _fetch(self, request: TokenRequest) -> bytes:
        headers = {"Authorization": request.authorization} if request.authorization else {}
        call = Call(url=request.url, headers=headers)
        if request.form is not None:
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            encoded = str(httpx.QueryParams(dict(request.form))).encode()
            call = Call(method="POST", url=request.url, headers=headers, content=encoded)
        found = self.fetch(call, _MAX_TOKEN_BYTES, absent=(400, 401, 403))
        if found is None:
            fix = "log in to the registry again: docker login, podman login"
            raise RegistryError("the token server knows us not", where=redact(request.url), fix=fix)
        return found[0]

    def _send(self, call: Call, url: httpx.URL, authorization: str | None) -> httpx.Response:
        # Digests are those of the bytes as stored, so nothing may be compressed on the way.
        sent = {"Accept-Encoding": "identity", **call.headers}
        if authorization is not None:
            sent["Authorization"] = authorization
        content = call.content() if callable(call.content) else call.content
        # A server may take its time to check and move what it was given.
        limits = httpx.USE_CLIENT_DEFAULT if call.method in _SAFE else httpx.Timeout(60, connect=10, read=_COMMIT_S)
        request = self._client.build_request(call.method, url, headers=sent, content=content, timeout=limits)
        return self._client.send(request, stream=True)


def onward(url: httpx.URL, location: str) -> httpx.URL:
    """Where a ``Location`` header of an answer from ``url`` leads. Raises ``RegistryError`` for a place unfit."""
    try:
        target = url.join(location)
    except httpx.InvalidURL as error:
        raise RegistryError(f"redirects to {redact(location)[:200]!r}", where=redact(str(url))) from error
    if not location or target.scheme not in ("http", "https") or not target.host:
        raise RegistryError(f"redirects to {redact(location)[:200]!r}", where=redact(str(url)))
    if url.scheme == "https" and target.scheme == "http":
        raise RegistryError("redirects from https to plain http", where=redact(str(url)))
    return target


def _bounded(response: httpx.Response, limit_bytes: int, url: str) -> bytes:
    data = bytearray()
    announced = response.headers.get("content-length", "")
    for chunk in response.iter_raw():
        data += chunk
        if len(data) > limit_bytes or (announced.isdigit() and int(announced) > limit_bytes):
            raise RegistryError(f"answer is larger than {limit_bytes} bytes", where=redact(url))
    return bytes(data)


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host, port
