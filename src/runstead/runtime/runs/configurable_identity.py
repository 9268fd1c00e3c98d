"""Acting user as graphs see it: the keys of ``configurable`` with the authenticated user.

On a server with authentication, only the server sets these keys. Without authentication, clients may set ``user_id``
themselves. The other keys are dropped by the wire, and never appear in streams.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runstead.runtime.actor_context import ActorContext


def identity_of(actor: ActorContext, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return ``user_id`` and, for an authenticated user, ``tenant_id`` and the known claims.

    ``given`` is the merged configurable of the client, the thread and the assistant.
    """
    said = None if actor.is_authenticated else (given or {}).get("user_id")
    identity: dict[str, Any] = {"user_id": said or actor.user_id}
    if actor.is_authenticated:
        identity["tenant_id"] = actor.tenant_id
    if not actor.claims:
        return identity
    return {
        **identity,
        "langgraph_auth_user": dict(actor.claims),
        "langgraph_auth_user_id": actor.user_id,
        "langgraph_auth_permissions": sorted(actor.scopes),
    }
