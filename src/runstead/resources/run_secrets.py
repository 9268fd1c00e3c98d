"""Secrets of runs in the cache of the deployment: in memory, or encrypted in Redis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import RunId

from .cache import Cache

_TTL: Final = timedelta(days=1)
_GONE: Final = b""


class CachedRunSecrets:
    """RunSecretStore over a `Cache`. The key contains the actor, so that no user can replace the secrets of another."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    async def put(self, actor: ActorContext, run_id: RunId, secrets: Mapping[str, str]) -> None:
        await self._cache.set(_key(actor, run_id), json.dumps(dict(secrets)).encode(), _TTL)

    async def get(self, actor: ActorContext, run_id: RunId) -> Mapping[str, str] | None:
        found = await self._cache.get(_key(actor, run_id))
        if not found:
            return None
        secrets: dict[str, str] = json.loads(found)
        return secrets

    async def discard(self, actor: ActorContext, run_id: RunId) -> None:
        await self._cache.set(_key(actor, run_id), _GONE, timedelta(milliseconds=1))


def _key(actor: ActorContext, run_id: RunId) -> str:
    return "secrets:" + json.dumps([actor.tenant_id, actor.user_id, run_id])
