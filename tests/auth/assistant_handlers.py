"""An auth module with handlers for assistants. A configuration of the tests here names its path."""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    name, _, permissions = (authorization or "").removeprefix("Bearer ").partition(" ")
    user: Any = {"identity": name, "permissions": permissions.split()}
    return user  # type: ignore[no-any-return]


def own(ctx: Auth.types.AuthContext) -> Any:
    """Filter by the permissions of the user's token: one room, or all resources of the user."""
    rooms = [each for each in ctx.permissions if each.startswith("room-")]
    return {"room": rooms[0]} if rooms else True


@auth.on.assistants.create
async def created_in_a_room(ctx: Auth.types.AuthContext, value: Any) -> Any:
    if "reader" in ctx.permissions:
        return False
    filters = own(ctx)
    if isinstance(filters, dict):
        value["metadata"].update(filters)
    # The result depends on the user.
    value["context"] = {**(value.get("context") or {}), "plan": "gold" if "gold" in ctx.permissions else "free"}
    value["name"] = (value.get("name") or "nameless").upper()
    return filters


@auth.on.assistants.update
async def updated_within_limits(ctx: Auth.types.AuthContext, value: Any) -> Any:
    if value.get("context"):
        value["context"] = {**value["context"], "plan": "free"}
    if value.get("version") == 13:
        value["version"] = 1
    return own(ctx) if "reader" not in ctx.permissions else False


@auth.on.assistants.delete
async def deleted_by_janitors(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return own(ctx) if "janitor" in ctx.permissions else False


@auth.on.assistants.read
async def read(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return own(ctx)


@auth.on.assistants.search
async def searched(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return own(ctx)


@auth.on.threads.delete
async def some_threads_stay(ctx: Auth.types.AuthContext, value: Any) -> Any:
    if "no-threads" in ctx.permissions:
        raise Auth.exceptions.HTTPException(403, "Threads are evidence")
    return {"kind": "scratch"} if "tidy" in ctx.permissions else True


@auth.on.threads.update
async def some_runs_go_on(ctx: Auth.types.AuthContext, value: Any) -> Any:
    if "no-stops" in ctx.permissions:
        raise Auth.exceptions.HTTPException(403, "Runs are not stopped here")
    return {"kind": "scratch"} if "tidy" in ctx.permissions else True
