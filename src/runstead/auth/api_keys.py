"""Authentication by API keys: a request with a key acts for the key's user."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from runstead.resources.api_keys import ApiKeyRecord, ApiKeyStore, digest_of
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.clock import Clock
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated

_log = logging.getLogger(__name__)

AUTH_SOURCE: Final = "api_key"

_USE_REPORTED_EVERY: Final = timedelta(minutes=1)
"""Accuracy of the recorded time of a key's last use. A write per request would cost more than the request."""


class ApiKeyAuthentication:
    """Authenticator that accepts keys that are not revoked, as ``x-api-key`` or as ``Authorization: Bearer``."""

    def __init__(self, keys: ApiKeyStore, clock: Clock) -> None:
        self._keys, self._clock = keys, clock
        self._last_reported: dict[str, datetime] = {}

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        key = _key_of(credentials.headers)
        if key is None:
            raise Unauthenticated("Send an API key, as x-api-key or as Authorization: Bearer")
        digest = digest_of(key)
        record = await self._keys.find(digest)
        # Found by an index, compared in constant time: response times reveal nothing about the digests.
        if record is None or not hmac.compare_digest(record.digest, digest):
            raise Unauthenticated("This API key is not valid")
        if not record.is_valid(self._clock.now()):
            expired = record.revoked_at is None
            raise Unauthenticated("This API key has expired; get a new one" if expired else "This API key is not valid")
        await self._tell_use(record)
        return _actor(record)

    async def _tell_use(self, record: ApiKeyRecord) -> None:
        now = self._clock.now()
        last = self._last_reported.get(record.key_id)
        if last is not None and now - last < _USE_REPORTED_EVERY:
            return
        self._last_reported[record.key_id] = now
        try:
            await self._keys.used(record.key_id, now)
        except Exception:
            # A full disk must not block requests that only read.
            _log.exception("could not record the use of key %s", record.key_id)


def _key_of(headers: Mapping[str, str]) -> str | None:
    if key := headers.get("x-api-key", "").strip():
        return key
    scheme, _, key = headers.get("authorization", "").strip().partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None


def _actor(record: ApiKeyRecord) -> ActorContext:
    return ActorContext(
        user_id=record.user_id,
        tenant_id=record.tenant_id,
        subject_id=record.key_id,
        scopes=frozenset(record.scopes),
        auth_source=AUTH_SOURCE,
        claims={
            "identity": record.user_id,
            "display_name": record.user_id,
            "is_authenticated": True,
            "permissions": list(record.scopes),
        },
    )
