"""Who is asking: what a request shows, and the port of those who judge it.

Adapters live in `runstead.plugins.auth`; the gateway binds the actor they answer with around the request.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from runstead.runtime.actor_context import ActorContext


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of its maker. Header names are in lower case; ``client`` is the peer's address."""

    method: str
    path: str
    headers: Mapping[str, str]
    query: str = ""
    client: str | None = None


class Authenticator(Protocol):
    """Turns credentials into the actor on whose behalf the request runs."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """The actor. Raises Unauthenticated for nobody known, Forbidden for somebody who may not come in at all."""
        ...
