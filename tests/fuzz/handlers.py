"""Auth handlers of a langgraph.json: users see their own resources only."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    token = headers.get(b"x-api-key", b"").decode("latin-1")
    if token not in ("token-of-alice", "token-of-mallory"):
        raise Auth.exceptions.HTTPException(401, "Invalid token")
    return {"identity": token.removeprefix("token-of-")}


@auth.on
async def owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.store
async def rooms(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value["namespace"] = (ctx.user.identity, *(value.get("namespace") or ()))
