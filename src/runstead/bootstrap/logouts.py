"""Ends of identities that an OIDC issuer reports: links of chat services that they have made are deleted."""

from __future__ import annotations

import logging
from typing import Final

from runstead.gateway.auth.audit import AuditLog
from runstead.resources.channels import ChannelLinkStore
from runstead.runtime.actor_context import SERVER_ACTOR
from runstead.wire.errors import BadRequest, Unauthenticated
from runstead.wire.logouts import LogoutTokens

_log = logging.getLogger(__name__)

_SOURCE: Final = "oidc"
"""The ``auth_source`` of the users of an issuer."""


class OidcLogouts:
    """LogoutEndpoint of a server with an OIDC issuer."""

    def __init__(self, tokens: LogoutTokens, links: ChannelLinkStore, audit: AuditLog | None) -> None:
        self._tokens, self._links, self._audit = tokens, links, audit

    async def receive(self, token: str) -> None:
        try:
            subject = await self._tokens.ended_subject(token)
        except Unauthenticated as error:
            # The answer that the specification wants.
            raise BadRequest(str(error)) from error
        ended = await self._links.delete_of_subject(_SOURCE, subject)
        _log.info("the OIDC issuer has logged an identity out: %d links of chat services end", ended)
        if self._audit is not None:
            await self._audit.record(
                SERVER_ACTOR,
                action="channels.unlink",
                route="oidc",
                status=200,
                target={"subject_id": subject},
                details={"links": ended},
            )
