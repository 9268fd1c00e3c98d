"""Auth modules in the style of LangGraph's tutorial on private conversations, one for each of its steps.

``one`` stamps and filters everything by owner; ``scoped`` adds handlers for single resources, of which the one for
assistants refuses; ``denying`` refuses everything; ``reading`` lets readers only read threads.
"""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

TOKENS = {"user1-token": {"id": "user1", "name": "Alice"}, "user2-token": {"id": "user2", "name": "Bob"}}
READER_TOKEN = "user1-reader-token"


async def current_user(authorization: str | None) -> Auth.types.MinimalUserDict:
    assert authorization
    scheme, token = authorization.split()
    assert scheme.lower() == "bearer"
    if token not in TOKENS:
        raise Auth.exceptions.HTTPException(status_code=401, detail="Invalid token")
    return {"identity": TOKENS[token]["id"]}


async def add_owner(ctx: Auth.types.AuthContext, value: dict[str, Any]) -> Any:
    filters = {"owner": ctx.user.identity}
    metadata = value.setdefault("metadata", {})
    metadata.update(filters)
    return filters


one = Auth()
one.authenticate(current_user)
one.on(add_owner)

scoped = Auth()
scoped.authenticate(current_user)
scoped.on(add_owner)


@scoped.on.threads.create
async def on_thread_create(ctx: Auth.types.AuthContext, value: Any) -> Any:
    metadata = value.setdefault("metadata", {})
    metadata["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@scoped.on.threads.read
async def on_thread_read(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return {"owner": ctx.user.identity}


@scoped.on.assistants
async def on_assistants(ctx: Auth.types.AuthContext, value: Any) -> Any:
    raise Auth.exceptions.HTTPException(status_code=403, detail="User lacks the required permissions.")


@scoped.on.store()
async def authorize_store(ctx: Auth.types.AuthContext, value: Any) -> Any:
    namespace: tuple[str, ...] = value["namespace"]
    assert namespace[0] == ctx.user.identity, "Not authorized"


denying = Auth()
denying.authenticate(current_user)


@denying.on
async def deny(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return False


reading = Auth()


@reading.authenticate
async def user_or_reader(authorization: str | None) -> Auth.types.MinimalUserDict:
    if authorization == f"Bearer {READER_TOKEN}":
        return {"identity": "user1", "permissions": ["read"]}
    return await current_user(authorization)


@reading.on
async def refuse_readers(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return "read" not in ctx.permissions


@reading.on.threads.read
async def let_all_users_read(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return True
