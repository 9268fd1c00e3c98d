"""Signing keys of an OIDC issuer: discovery, a cache of the JWKS, and rotation without a restart."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

import httpx
from joserfc.errors import JoseError
from joserfc.jwk import JWKRegistry, Key

from runstead.runtime.clock import Clock
from runstead.runtime.json_types import JsonMapping
from runstead.settings.access import is_https_or_loopback
from runstead.wire.errors import Unavailable

_log = logging.getLogger(__name__)

_KEY_TYPES: Final = frozenset(("RSA", "EC", "OKP"))
"""Asymmetric keys. A shared secret in a public key set would let its readers sign tokens."""
_RETRY_AFTER: Final = timedelta(seconds=10)
"""Minimum time between two fetches, so that tokens with invented key ids do not make the server call its issuer."""
_MAX_BYTES: Final = 512 * 1024
_UNAVAILABLE: Final = "The keys of this server's OIDC issuer cannot be fetched; send the request again in a moment"


class IssuerFault(Exception):
    """The issuer's documents could not be fetched or used; the text says why."""


class SigningKeys:
    """The public keys of one issuer, fetched when they are needed and again when they are old or an id is unknown.

    While the issuer is unreachable, keys that were fetched before stay valid.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        clock: Clock,
        issuer: str,
        *,
        jwks_url: str | None = None,
        max_age: timedelta = timedelta(minutes=10),
    ) -> None:
        """``jwks_url``: the address of the key set; None for the one that the issuer's discovery document names."""
        self._client, self._clock, self._issuer = client, clock, issuer
        self._jwks_url, self._max_age = jwks_url, max_age
        self._keys: Sequence[Key] = ()
        self._fetched_at: datetime | None = None
        self._tried_at: datetime | None = None
        self._lock = asyncio.Lock()

    async def find(self, kid: str | None, algorithm: str, key_type: str) -> Key | None:
        """Return the key that a token with this header is verified with; None if the issuer has none.

        A token without a key id is accepted if exactly one key fits. Raises Unavailable without any keys.
        """
        if self._is_old():
            await self._refresh(self._fetched_at)
        if (key := self._find(kid, algorithm, key_type)) is not None:
            return key
        # The issuer may have rotated its keys since.
        await self._refresh(self._fetched_at)
        return self._find(kid, algorithm, key_type)

    def _find(self, kid: str | None, algorithm: str, key_type: str) -> Key | None:
        fitting = [
            key
            for key in self._keys
            if key.key_type == key_type
            and key.get("alg") in (None, algorithm)
            and key.get("use") in (None, "sig")
            and (kid is None or key.get("kid") == kid)
        ]
        return fitting[0] if len(fitting) == 1 else None

    def _is_old(self) -> bool:
        return self._fetched_at is None or self._clock.now() - self._fetched_at >= self._max_age

    async def _refresh(self, seen: datetime | None) -> None:
        """Fetch the keys, once for all requests that wait for them. ``seen``: the fetch that they have looked at."""
        async with self._lock:
            now = self._clock.now()
            is_too_soon = self._tried_at is not None and now - self._tried_at < _RETRY_AFTER
            if self._fetched_at == seen and not is_too_soon:
                self._tried_at = now
                try:
                    self._keys = await self._fetch()
                    self._fetched_at = now
                except IssuerFault as fault:
                    _log.warning("could not fetch the signing keys of %s: %s", self._issuer, fault)
            if self._fetched_at is None:
                raise Unavailable(_UNAVAILABLE)

    async def _fetch(self) -> Sequence[Key]:
        url = self._jwks_url or await self._discover()
        document = await self._get(url)
        listed = document.get("keys")
        if not isinstance(listed, list):
            raise IssuerFault(f"{url} holds no list of keys")
        keys = [key for one in listed if (key := _imported(one)) is not None]
        if not keys:
            raise IssuerFault(f"{url} holds no key that could verify a signature")
        return keys

    async def _discover(self) -> str:
        url = f"{self._issuer.rstrip('/')}/.well-known/openid-configuration"
        document = await self._get(url)
        if document.get("issuer") != self._issuer:
            raise IssuerFault(
                f"{url} is of issuer {document.get('issuer')!r}, and the setting oidc_issuer is {self._issuer!r}"
            )
        found = document.get("jwks_uri")
        if not isinstance(found, str) or not is_https_or_loopback(found):
            raise IssuerFault(f"{url}: jwks_uri must be an https address, got {found!r}")
        return found

    async def _get(self, url: str) -> JsonMapping:
        try:
            response = await self._client.get(url, headers={"accept": "application/json"})
            if response.status_code != httpx.codes.OK or len(response.content) > _MAX_BYTES:
                raise IssuerFault(f"{url} answered {response.status_code} with {len(response.content)} bytes")
            document = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise IssuerFault(f"{url}: {type(error).__name__}: {error}") from error
        if not isinstance(document, dict):
            raise IssuerFault(f"{url} is not a JSON object")
        return document


def _imported(one: object) -> Key | None:
    """Return the key; None for one that is not for signatures, or that this version cannot read."""
    if not isinstance(one, dict) or one.get("kty") not in _KEY_TYPES:
        return None
    try:
        return JWKRegistry.import_key(one)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        _log.warning("ignored key %s of the issuer: %s", one.get("kid"), error)
        return None
