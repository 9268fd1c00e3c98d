"""Check of a user's access to a run: by its API key, or by the auth handlers. (docs/adr/0038)"""

from __future__ import annotations

import logging
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from runstead.auth.api_keys import AUTH_SOURCE
from runstead.gateway.auth.authorization import authorize_again
from runstead.gateway.services import Services
from runstead.resources.api_keys import ApiKeyStore
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunRecord
from runstead.wire.errors import problem_of

_log = logging.getLogger(__name__)

_ASKED_JUST_NOW: Final = timedelta(seconds=30)
"""Handlers that authorized a run's creation are not called again if it begins within this time."""
_REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


class RunAccessCheck:
    """RunAccess of a server. ``services`` is set before the first run."""

    def __init__(self, keys: ApiKeyStore, clock: Clock) -> None:
        self._keys, self._clock = keys, clock
        self.services: Services | None = None

    async def is_revoked(self, run: RunRecord, *, begins: bool) -> bool:
        try:
            if run.actor.auth_source == AUTH_SOURCE:
                return await self.has_lost_key(run.actor)
            # Handlers are not called during execution: a handler may count its calls for new runs.
            return begins and await self._is_refused(run)
        except Exception:
            _log.warning("could not check the access of run %s", run.run_id, exc_info=True)
            return False

    async def has_lost_key(self, actor: ActorContext) -> bool:
        """Return whether the actor's API key is revoked, expired or deleted."""
        key = await self._keys.get(actor.subject_id or "")
        return key is None or not key.is_valid(self._clock.now())

    async def _is_refused(self, run: RunRecord) -> bool:
        services = self.services
        waited = self._clock.now() - run.created_at >= _ASKED_JUST_NOW
        if services is None or services.authorizer is None or not (waited or run.spec.after_seconds > 0):
            return False
        try:
            with acting(run.actor):
                await authorize_again(services, run)
        except Exception as error:
            problem = problem_of(error)
            if problem.status not in _REFUSALS:
                raise
            _log.warning("run %s is not started: %s", run.run_id, problem.detail)
            return True
        return False
