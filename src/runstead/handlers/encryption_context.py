"""Encryption context of a request, from its header and from the context handler of langgraph.json."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from runstead.handlers.encryption import LangGraphEncryption, context_in
from runstead.runtime.actor_context import ActorContext
from runstead.wire.credentials import Authenticator, Credentials
from runstead.wire.errors import Unprocessable

HEADER: Final = "x-encryption-context"
_KNOWN: Final = "runstead.encryption_context"
"""Scope key of a request's encryption context, so that handlers are called once per request."""


class EncryptionContextAuthentication:
    """Authenticator whose actors carry the context with which their data is encrypted."""

    def __init__(self, inner: Authenticator, encryption: LangGraphEncryption) -> None:
        self._inner, self._encryption = inner, encryption

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """Authenticate as the port describes. Raises Unprocessable for an invalid header, and EncryptionFailed."""
        actor = await self._inner.authenticate(credentials)
        scope: Any = credentials.scope
        if (context := scope.get(_KNOWN)) is None:
            try:
                given = context_in(credentials.headers.get(HEADER))
            except ValueError as error:
                raise Unprocessable(str(error)) from error
            context = await self._encryption.context_of(actor, given)
            if isinstance(scope, dict):
                scope[_KNOWN] = context
        return replace(actor, encryption=context)
