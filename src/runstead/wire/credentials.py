"""Credentials of a request, and the port of authentication.

Adapters live in `runstead.auth`; the gateway binds the returned actor for the duration of the request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.json_types import JsonMapping

ROLE: Final = "runstead.role"
"""In the scope of a request whose user has a role: ``admin`` or ``operator``."""
TENANT_HEADER: Final = "x-runstead-tenant"
"""Names the tenant that an operator acts in."""


async def _no_body() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Identity data of a request. Header names are in lower case; ``client`` is the peer's address.

    ``path_params`` are the ids in the path. ``scope`` is the ASGI scope, for authenticators that need more. ``body``
    reads the body, which stays available to the route; most authenticators do not need it.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: str = ""
    client: str | None = None
    path_params: Mapping[str, str] = field(default_factory=dict)
    scope: JsonMapping = field(default_factory=dict)
    body: Callable[[], Awaitable[bytes]] = _no_body


class Authenticator(Protocol):
    """Authenticator that turns credentials into the actor on whose behalf the request runs."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """Return the actor. Raises Unauthenticated for an unknown user, Forbidden for a user without any access, and
        Refused for a response in the authenticator's own words."""
        ...
