"""The auth handlers of the official tutorial: look a token up, stamp resources with their owner, filter by owner."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

from agents import pools

auth = Auth()


@auth.authenticate
async def get_current_user(authorization: str | None) -> Auth.types.MinimalUserDict:
    scheme, _, token = (authorization or "").partition(" ")
    name = await pools.name_of(token) if scheme == "Bearer" else None
    if name is None:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    return {"identity": name}


@auth.on
async def add_owner(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> dict[str, str]:
    """Make resources private to their creator."""
    filters = {"owner": ctx.user.identity}
    metadata = value.setdefault("metadata", {})
    metadata.update(filters)
    return filters


@auth.on.store
async def own_namespace(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> None:
    """Let users access only items under their own identity."""
    namespace = tuple(value["namespace"] or ())
    assert ctx.user.identity in namespace, "Not authorized"
