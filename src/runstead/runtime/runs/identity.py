"""The acting user in the words of graphs: the keys of ``configurable`` by which they ask who was authenticated.

Where users prove who they are, only the server sets these keys. Where nobody does, ``user_id`` is a key like any other:
clients say for whom they ask. The other keys are dropped by the wire, and nothing that streams shows them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runstead.runtime.actor_context import ActorContext


def identity_of(actor: ActorContext, given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return ``user_id``, and what is known of the user where somebody had to prove who they are, ``tenant_id`` too.

    ``given`` is the configurable that the client, the thread and the assistant have said.
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
