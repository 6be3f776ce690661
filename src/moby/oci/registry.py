"""Registries and their mirrors, as one place to pull from.

The HTTP library is loaded by the first pull: builds whose images are all in the store do without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Self, TypeVar

from moby import log
from moby.context import Context
from moby.errors import ConfigError, IntegrityError, RegistryError, UnreachableError
from moby.oci.credentials import Logins
from moby.oci.digest import Digest
from moby.oci.endpoint import is_loopback, mirror, origin, parse_mirrors
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.store import Store

if TYPE_CHECKING:
    import httpx

    from moby.oci.auth import Keychain
    from moby.oci.document import Document
    from moby.oci.pull import Pull
    from moby.oci.push import Pushed
    from moby.oci.remote import Remote
    from moby.oci.session import Session

_Result = TypeVar("_Result")
# Looks at what a name means and where it came from, before anything below it is pulled; raises to refuse it.
Check = Callable[["Document", "Remote"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """An image that was looked up and not pulled yet; ``pull`` goes on from there."""

    image: Image
    pull: Pull


class Registry:
    """Every registry, by way of one HTTP client, which ``client`` gives when it is needed (``context.client``).

    ``mirrors`` are ``[REGISTRY=]URL`` texts, tried before the registry itself for everything that is read.
    ``plain_http`` are registries without TLS; those of this machine are asked. ``sleep`` waits between attempts.
    As a context manager it closes a client that it made itself.
    """

    def __init__(
        self,
        client: Callable[[], httpx.Client],
        *,
        mirrors: Iterable[str] = (),
        plain_http: Iterable[str] = (),
        keychain: Keychain | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._mirrors = parse_mirrors(mirrors)
        self._plain = frozenset(plain_http)
        self._keychain = keychain
        self._sleep = sleep
        self._own = ExitStack()
        self._down: dict[str, str] = {}  # servers that could not be reached, with the advice

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *failure: object) -> None:
        self._own.close()

    @classmethod
    def connect(cls, context: Context) -> Registry:
        """Registries as this user reaches them: mirrors, certificates and logins of the surroundings.

        Files of logins and certificates are read when the network is first used.
        """
        made = cls(
            lambda: made._made(context),
            mirrors=context.mirrors,
            plain_http=context.plain_http,
            keychain=Logins(context.environment),
        )
        return made

    def look(self, reference: Reference, platform: Platform, store: Store, *, check: Check | None = None) -> Looked:
        """What ``pull`` would get, of which only the configuration is fetched. Raises as ``pull``."""
        with log.step(f"Looking up {reference}"):

            def look(remote: Remote) -> Looked:
                pull = _pull(remote, reference, platform, store, check)
                return Looked(image=pull.look(), pull=pull)

            return self.first(reference, look)

    def pull(
        self,
        reference: Reference,
        platform: Platform,
        store: Store,
        *,
        check: Check | None = None,
        looked: Looked | None = None,
    ) -> Image:
        """Put the image into ``store`` under its expanded name. ``check`` may refuse it before its blobs are pulled.

        ``looked`` is what ``look`` said about it, if it was asked; where it was found, it is not looked up again, and
        elsewhere nothing but the same image is pulled.

        Raises ``RegistryError`` when nobody has it or answers, ``IntegrityError`` when what comes is not what was
        promised, ``PlatformError`` when it cannot be stored. In all these cases the name keeps its old meaning.
        """
        with log.step(f"Pulling {reference}"):

            def pull(remote: Remote) -> Image:
                if looked is not None and looked.pull.place == remote:
                    return looked.pull.take()
                expected = looked.image.digest if looked is not None else None
                return _pull(remote, reference, platform, store, check, expected=expected).run()

            return self.first(reference, pull)

    def push(
        self, name: str, reference: Reference, store: Store, *, override: bool = False, arch_tags: bool = False
    ) -> Pushed:
        """Push what ``store`` has under ``name`` to the registry, repository and tag of ``reference``.

        See ``push.Push`` for the rest. Raises ``ConfigError`` for a reference that names a digest, ``RegistryError``,
        or ``IntegrityError`` when the store has no such image or not all of it.
        """
        from moby.oci.push import Push, known_sources

        if reference.digest is not None:
            raise ConfigError("a digest is no name to push to", where=str(reference), fix="give a tag")
        roots = store.descriptors(name)
        if not roots:
            raise IntegrityError("the store has no image of this name", where=name, fix="moby cache ls lists them")
        remote = self.origin(reference).to_write()
        push = Push(
            remote=remote,
            store=store,
            override=override,
            arch_tags=arch_tags,
            sources=known_sources(store, reference.registry, reference.repository),
        )
        with log.step(f"Pushing {reference}"):
            return push.run(roots[0], reference.locator)

    def first(self, reference: Reference, ask: Callable[[Remote], _Result]) -> _Result:
        """What ``ask`` gets from the first place that answers: the mirror, then the registry itself.

        One that could not be reached is not asked again. Raises the error of the last place, with what every place
        said.
        """
        failures: list[RegistryError | IntegrityError] = []
        for remote in self._remotes(reference):
            base = remote.endpoint.base
            try:
                if (fix := self._down.get(base)) is not None:
                    raise UnreachableError("not asked again: it cannot be reached", where=base, fix=fix)
                return ask(remote)
            except (RegistryError, IntegrityError) as error:
                if isinstance(error, UnreachableError):
                    self._down[base] = error.fix
                failures.append(error)
        raise _joined(reference, failures) from failures[-1]

    def origin(self, reference: Reference) -> Remote:
        """The registry itself, without mirrors: what is written goes there."""
        from moby.oci.remote import Remote

        session = self._session
        host = reference.registry
        plain = host in self._plain or (is_loopback(host) and session.is_plain(host))
        return Remote(session=session, endpoint=origin(reference, scheme="http" if plain else "https"))

    @cached_property
    def _session(self) -> Session:
        """One for all requests, since it keeps the tokens."""
        from moby.oci.session import Session

        return Session(self._client(), keychain=self._keychain, sleep=self._sleep)

    def _made(self, context: Context) -> httpx.Client:
        """The process's client, or one of its own where single registries have certificates."""
        from moby import http
        from moby.oci import certificates

        servers = certificates.found(certificates.directories(context.environment))
        servers |= dict(map(certificates.parse, context.client_certificates))
        if not servers:
            return context.client()
        contexts = certificates.contexts(servers, context.certificates)
        return self._own.enter_context(http.client(certificates=context.certificates, servers=contexts))

    def _remotes(self, reference: Reference) -> Iterator[Remote]:
        """Whom to ask, in order."""
        from moby.oci.remote import Remote

        before = mirror(reference, self._mirrors)
        if before is not None:
            yield Remote(session=self._session, endpoint=before)
        yield self.origin(reference)


def _pull(
    remote: Remote,
    reference: Reference,
    platform: Platform,
    store: Store,
    check: Check | None,
    *,
    expected: Digest | None = None,
) -> Pull:
    from moby.oci.pull import Pull

    checks = (lambda document: check(document, remote)) if check is not None else None
    return Pull(place=remote, reference=reference, platform=platform, store=store, check=checks, expected=expected)


def _joined(reference: Reference, failures: list[RegistryError | IntegrityError]) -> RegistryError | IntegrityError:
    """One error for all places; the registry itself, tried last, decides its kind and the advice."""
    last = failures[-1]
    said = [f"{each.where}: {each.what}" if each.where else each.what for each in failures]
    what = said[0] if len(said) == 1 else "".join(f"\n  {line}" for line in said)
    return type(last)(what, where=f"pulling {reference}", fix=last.fix)
