"""An auth module as users of langgraph.json write it: users see their own resources, and some only a part of these.

A configuration of the tests here names its path.
"""

from __future__ import annotations

import time
from typing import Any

from langgraph_sdk import Auth

auth = Auth()

USERS: dict[str, dict[str, Any]] = {
    "alice-token": {"identity": "alice", "permissions": ["write"], "display_name": "Alice", "plan": {"tier": "gold"}},
    "bob-token": {"identity": "bob", "permissions": ["write"]},
    # Alice again, with a token that gives access to fewer of her resources.
    "guest-token": {"identity": "alice", "permissions": ["public"]},
    "reader-token": {"identity": "alice", "permissions": ["read"]},
    "slow-token": {"identity": "alice", "permissions": ["write"]},
}


@auth.authenticate
async def authenticate(authorization: str | None, headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    token = (authorization or "").removeprefix("Bearer ").strip() or headers.get(b"x-api-key", b"").decode()
    if token == "slow-token":
        # Blocks like a handler that calls another service without asyncio.
        time.sleep(1.5)  # noqa: ASYNC251
    if token == "teapot-token":
        raise Auth.exceptions.HTTPException(418, "I am a teapot", headers={"x-kind": "teapot"})
    user = USERS.get(token)
    if user is None:
        raise Auth.exceptions.HTTPException(401, "Invalid token", headers={"WWW-Authenticate": "Bearer"})
    found: Auth.types.MinimalUserDict = user  # type: ignore[assignment]
    return found


@auth.on
async def owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
    """Catch-all handler: stamp resources with their owner, and filter by owner."""
    metadata = value.setdefault("metadata", {})
    if "public" in ctx.permissions:
        return {"visibility": "public"}
    metadata["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.threads.update
async def readers_change_nothing(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return await owned(ctx, value) if "read" not in ctx.permissions else False


@auth.on.threads.create_run
async def runs_are_stamped(ctx: Auth.types.AuthContext, value: Any) -> Any:
    kwargs = value["kwargs"]
    kwargs["config"] = {**(kwargs.get("config") or {}), "tags": ["stamped"]}
    return await owned(ctx, value)


@auth.on.assistants.read
async def assistants_are_shared(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return True


@auth.on.assistants.search
async def only_those_of_the_server(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"created_by": {"$eq": "system"}}


@auth.on.threads.delete
async def bob_may_not_delete(ctx: Auth.types.AuthContext, value: Any) -> Any:
    if ctx.user.identity == "bob":
        raise Auth.exceptions.HTTPException(403, "bob may not delete")
    return await owned(ctx, value)


@auth.on.store
async def rooms(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value["namespace"] = ("room", *(value.get("namespace") or ()))
