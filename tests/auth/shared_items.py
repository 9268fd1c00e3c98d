"""An auth module that shares items by rewriting their namespaces, and a graph that reads and writes items.

A token contains the user, the organisation, and the handler's treatment of namespaces.
"""

from __future__ import annotations

from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    name, org, how = (authorization or "").removeprefix("Bearer ").split()
    user: Any = {"identity": name, "org": org, "permissions": [how]}
    return user  # type: ignore[no-any-return]


@auth.on.store
async def led(ctx: Auth.types.AuthContext, value: Any) -> Any:
    namespace, (how,) = tuple(value["namespace"] or ()), ctx.permissions
    if how == "team":
        value["namespace"] = ("org", ctx.user["org"], *namespace)
    elif how == "user" and (not namespace or namespace[0] != ctx.user.identity):
        value["namespace"] = (ctx.user.identity, *namespace)
    elif how == "elsewhere":
        value["namespace"] = ("one", "place")
    elif how == "mine":
        value["namespace"] = ("org", ctx.user["org"], *namespace)
        return {"by": ctx.user.identity}
    elif how == "broken":
        value["namespace"] = ("org", None)
    elif how == "stamp" and ctx.action == "put":
        value["value"]["by"], value["ttl"], value["key"] = ctx.user.identity, 5, value["key"].lower()
    elif how == "stamp" and ctx.action == "search":
        value["limit"], value["filter"] = 1, {"by": ctx.user.identity}
    return None


class Librarian(TypedDict, total=False):
    put: dict[str, Any]
    read: list[str]
    found: Any


async def _work(state: Librarian, config: RunnableConfig) -> dict[str, Any]:
    store = get_store()
    for key, value in (state.get("put") or {}).items():
        await store.aput(tuple(state["read"]), key, value)
    items = await store.asearch(tuple(state["read"]), limit=100)
    return {"found": {f"{'/'.join(item.namespace)} {item.key}": item.value for item in items}}


librarian = StateGraph(Librarian).add_node("work", _work).add_edge(START, "work").compile(name="librarian")
