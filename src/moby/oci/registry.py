"""Registries and their mirrors, as one place to pull from.

The HTTP library is loaded by the first pull: builds whose images are all in the store do without.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from moby import log
from moby.errors import IntegrityError, RegistryError
from moby.oci.endpoint import Endpoint, is_loopback, mirror, origin, parse_mirrors
from moby.oci.image import Image
from moby.oci.manifest import Platform
from moby.oci.reference import Reference
from moby.oci.store import Store

if TYPE_CHECKING:
    import httpx

    from moby.oci.auth import Keychain
    from moby.oci.session import Session


class Registry:
    """Every registry, by way of one HTTP client, which ``client`` gives when it is needed (``context.client``).

    ``mirrors`` are ``[REGISTRY=]URL`` texts, tried before the registry itself. ``sleep`` waits between attempts.
    """

    def __init__(
        self,
        client: Callable[[], httpx.Client],
        *,
        mirrors: Iterable[str] = (),
        keychain: Keychain | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._client = client
        self._mirrors = parse_mirrors(mirrors)
        self._keychain = keychain
        self._sleep = sleep

    def pull(self, reference: Reference, platform: Platform, store: Store) -> Image:
        """Put the image into ``store`` under its expanded name.

        Raises ``RegistryError`` when nobody has it or answers, ``IntegrityError`` when what comes is not what was
        promised, ``PlatformError`` when it cannot be stored. In all these cases the name keeps its old meaning.
        """
        from moby.oci.pull import Pull
        from moby.oci.session import Session

        session = Session(self._client(), keychain=self._keychain, sleep=self._sleep)
        failures: list[RegistryError | IntegrityError] = []
        with log.step(f"Pulling {reference}"):
            for endpoint in self._endpoints(reference, session):
                try:
                    return Pull(
                        session=session, endpoint=endpoint, reference=reference, platform=platform, store=store
                    ).run()
                except (RegistryError, IntegrityError) as error:
                    failures.append(error)
            raise _joined(reference, failures) from failures[-1]

    def _endpoints(self, reference: Reference, session: Session) -> Iterator[Endpoint]:
        """Whom to ask, in order."""
        before = mirror(reference, self._mirrors)
        if before is not None:
            yield before
        plain = is_loopback(reference.registry) and session.is_plain(reference.registry)
        yield origin(reference, scheme="http" if plain else "https")


def _joined(reference: Reference, failures: list[RegistryError | IntegrityError]) -> RegistryError | IntegrityError:
    """One error for all places; the registry itself, tried last, decides its kind and the advice."""
    last = failures[-1]
    said = [f"{each.where}: {each.what}" if each.where else each.what for each in failures]
    what = said[0] if len(said) == 1 else "".join(f"\n  {line}" for line in said)
    return type(last)(what, where=f"pulling {reference}", fix=last.fix)
