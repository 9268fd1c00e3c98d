"""Check of a user's access to a run: by its API key, its link of a chat service, or the auth handlers.

See docs/adr/0038.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from http import HTTPStatus
from typing import Final

from runstead.auth.api_keys import AUTH_SOURCE
from runstead.gateway.auth.authorization import authorize_again
from runstead.gateway.services import Services
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.channel_links import SqlChannelLinkStore
from runstead.resources.api_keys import ApiKeyStore
from runstead.resources.channels import CHANNEL_SOURCE, ChannelLink, ChannelLinkStore
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunRecord
from runstead.settings import Settings
from runstead.wire.errors import problem_of

from .profile import Profile

_log = logging.getLogger(__name__)

_ASKED_JUST_NOW: Final = timedelta(seconds=30)
"""Handlers that authorized a run's creation are not called again if it begins within this time."""
REFUSALS: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


def run_access_check(profile: Profile, settings: Settings) -> RunAccessCheck:
    """Return the check of a server, which has no services yet."""
    days = settings.channel_link_days
    return RunAccessCheck(
        SqlApiKeyStore(profile.database),
        SqlChannelLinkStore(profile.database, profile.clock),
        profile.clock,
        None if days is None else timedelta(days=days),
    )


class RunAccessCheck:
    """RunAccess of a server. ``services`` is set before the first run."""

    def __init__(
        self, keys: ApiKeyStore, links: ChannelLinkStore, clock: Clock, link_lifetime: timedelta | None = None
    ) -> None:
        """``link_lifetime``: age at which links of chat users end."""
        self._keys, self._links, self._clock, self._lifetime = keys, links, clock, link_lifetime
        self.services: Services | None = None

    async def is_revoked(self, run: RunRecord, *, begins: bool) -> bool:
        try:
            if run.actor.auth_source == AUTH_SOURCE:
                return await self.has_lost_key(run.actor)
            if (run.actor.auth_source or "").startswith(CHANNEL_SOURCE) and await self._has_lost_link(run.actor):
                return True
            # Handlers are not called during execution: a handler may count its calls for new runs.
            return begins and await self._is_refused(run)
        except Exception:
            _log.warning("could not check the access of run %s", run.run_id, exc_info=True)
            return False

    async def is_link_revoked(self, link: ChannelLink) -> bool:
        """Return whether a link of a chat user is too old, or was made with an API key that is no longer valid."""
        if self._lifetime is not None and link.created_at + self._lifetime <= self._clock.now():
            return True
        return link.actor.auth_source == AUTH_SOURCE and await self.has_lost_key(link.actor)

    async def _has_lost_link(self, actor: ActorContext) -> bool:
        """Return whether an account has no valid link to the chat service any more from which a run of it came, or
        whether the run came by a link of an API key that is no longer valid."""
        provider = (actor.auth_source or "").removeprefix(CHANNEL_SOURCE)
        with acting(actor):
            links = [link for link in await self._links.list_links() if link.chat_user.provider == provider]
        if all([await self.is_link_revoked(link) for link in links]):
            return True
        key = await self._keys.get(actor.subject_id or "")
        is_own = key is not None and (key.tenant_id, key.user_id) == (actor.tenant_id, actor.user_id)
        return key is not None and is_own and not key.is_valid(self._clock.now())

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
            if problem.status not in REFUSALS:
                raise
            _log.warning("run %s is not started: %s", run.run_id, problem.detail)
            return True
        return False
