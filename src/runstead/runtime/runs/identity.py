"""The acting user in the words of graphs: the keys of ``configurable`` by which they ask who was authenticated.

Only the server sets these keys: the wire drops them from what clients send, and nothing that streams shows them.
"""

from __future__ import annotations

from typing import Any

from runstead.runtime.actor_context import ActorContext


def identity_of(actor: ActorContext) -> dict[str, Any]:
    """``user_id``, and what is known of the user where somebody had to prove who they are."""
    if not actor.claims:
        return {"user_id": actor.user_id}
    return {
        "user_id": actor.user_id,
        "langgraph_auth_user": dict(actor.claims),
        "langgraph_auth_user_id": actor.user_id,
        "langgraph_auth_permissions": sorted(actor.scopes),
    }
