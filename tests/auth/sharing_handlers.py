"""An auth module of a team: threads belong to an organisation; assistants and crons have no handlers by default.

A configuration of the tests here names its path. A token with the word "everything" shares assistants and crons
too.
"""

from __future__ import annotations

from typing import Any

from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    name, *said = (authorization or "").removeprefix("Bearer ").split()
    user: Any = {"identity": name, "org": said[0], "permissions": said[1:]}
    return user  # type: ignore[no-any-return]


def within(ctx: Auth.types.AuthContext) -> dict[str, Any]:
    org: str = ctx.user["org"]
    if "broken" in ctx.permissions:
        return {"$or": [{"org": org}]}
    if "invited" in ctx.permissions:
        return {"$or": [{"org": org}, {"members": {"$contains": ctx.user.identity}}]}
    # A thread may be restricted to some members of the organisation.
    return {"org": org, "members": {"$contains": ctx.user.identity}} if "members" in ctx.permissions else {"org": org}


@auth.on.threads
async def threads_of_the_organisation(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return within(ctx)


@auth.on.threads.create
async def made_for_the_organisation(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value["metadata"]["org"] = ctx.user["org"]
    return within(ctx)


@auth.on.threads.create_run
async def run_for_the_organisation(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value["metadata"]["org"] = ctx.user["org"]
    return True if "own-runs" in ctx.permissions else within(ctx)


@auth.on.threads.delete
async def only_one_s_own_is_deleted(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return True if "careful" in ctx.permissions else within(ctx)


@auth.on.assistants
async def shared_assistants_on_request(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return within(ctx) if "everything" in ctx.permissions else None


@auth.on.crons
async def shared_crons_on_request(ctx: Auth.types.AuthContext, value: Any) -> Any:
    return within(ctx) if "everything" in ctx.permissions else None
