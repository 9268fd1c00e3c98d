"""The context of encryption that a request brings: from its header, and from the context handler of langgraph.json."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from runstead.plugins.langgraph_encryption import LangGraphEncryption, context_in
from runstead.runtime.actor_context import ActorContext
from runstead.wire.credentials import Authenticator, Credentials
from runstead.wire.errors import Unprocessable

HEADER: Final = "x-encryption-context"
_KNOWN: Final = "runstead.encryption_context"
"""In the scope of a request whose context is known. Handlers are asked once."""


class EncryptionContextAuthentication:
    """An Authenticator whose actors carry the context that their data is encrypted with."""

    def __init__(self, inner: Authenticator, encryption: LangGraphEncryption) -> None:
        self._inner, self._encryption = inner, encryption

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """As the port says. Raises Unprocessable for a header that cannot be read, EncryptionFailed."""
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
