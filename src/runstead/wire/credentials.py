"""Who is asking: what a request shows, and the port of those who judge it.

Adapters live in `runstead.plugins.auth`; the gateway binds the actor they answer with around the request.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from runstead.runtime.actor_context import ActorContext


async def _no_body() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a request shows of its maker. Header names are in lower case; ``client`` is the peer's address.

    ``path_params`` are the ids in the path. ``scope`` is the request as ASGI has it, for those who want to look for
    themselves. ``body`` reads the body, which the request still has afterwards; most need not.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: str = ""
    client: str | None = None
    path_params: Mapping[str, str] = field(default_factory=dict)
    scope: Mapping[str, Any] = field(default_factory=dict)
    body: Callable[[], Awaitable[bytes]] = _no_body


class Authenticator(Protocol):
    """Turns credentials into the actor on whose behalf the request runs."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        """The actor. Raises Unauthenticated for nobody known, Forbidden for somebody who may not come in at all, and
        Refused for an answer in the authenticator's own words.
        """
        ...
