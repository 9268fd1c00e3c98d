"""Authentication by the operator's own object: any implementation of Authenticator, checked at its boundary."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any, Final

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonObject
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Refused, Unavailable, WireError

_log = logging.getLogger(__name__)

AUTH_SOURCE: Final = "custom"
_RESERVED_SOURCES: Final = frozenset(("none", "server", "api_key", "oidc", "langgraph_auth"))
"""Sources that mean something to the server: an own authenticator cannot claim them."""


class InvalidAuthenticator(Exception):
    """The object cannot be used as an authenticator; the text says why and how to correct it."""


class CustomAuthentication:
    """Authenticator over ``inner``. An error that ``inner`` does not mean as a refusal is a 503, never an access."""

    def __init__(self, inner: Any) -> None:
        """Raises InvalidAuthenticator."""
        if not callable(getattr(inner, "authenticate", None)):
            raise InvalidAuthenticator(
                f"it is a {type(inner).__name__} without `async def authenticate(self, credentials)`; "
                "return a runstead.ActorContext from it, or raise Unauthenticated"
            )
        self._inner = inner

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """See Authenticator. Raises Unavailable for an error of the object, and for anything but an actor."""
        name = type(self._inner).__name__
        try:
            actor = await self._inner.authenticate(credentials)
        except (WireError, Refused):
            raise
        except Exception as error:
            _log.exception("authenticator %s failed", name)
            raise Unavailable("This server's authenticator failed; send the request again in a moment") from error
        if not isinstance(actor, ActorContext):
            _log.error("authenticator %s must return a runstead.ActorContext, got %s", name, type(actor).__name__)
            raise Unavailable("This server's authenticator returned no user")
        if actor.has_reserved_id or actor.auth_source in _RESERVED_SOURCES:
            _log.error(
                "authenticator %s returned a user id, tenant id or auth_source that is reserved for the server", name
            )
            raise Unavailable("This server's authenticator returned a reserved user")
        if "identity" in actor.claims and actor.auth_source is not None:
            return actor
        return replace(actor, auth_source=actor.auth_source or AUTH_SOURCE, claims={**claims_of(actor), **actor.claims})


def claims_of(actor: ActorContext) -> JsonObject:
    """Return the claims that graphs and handlers expect of every authenticated user."""
    return {
        "identity": actor.user_id,
        "display_name": actor.user_id,
        "is_authenticated": True,
        "permissions": sorted(actor.scopes),
    }
