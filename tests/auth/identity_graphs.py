"""A graph that returns who it acts for, and two ways to authenticate users of several tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph_sdk import Auth

import runstead
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated


class State(TypedDict, total=False):
    who: dict[str, Any]
    configured: dict[str, Any]


async def tell(state: State, config: RunnableConfig) -> State:
    actor = runstead.actor()
    who = [actor.tenant_id, actor.user_id, actor.subject_id, sorted(actor.scopes), actor.auth_source]
    names = ("tenant_id", "user_id", "subject_id", "scopes", "auth_source")
    return {"who": dict(zip(names, who, strict=True)), "configured": config["configurable"]["runstead_actor"]}


graph: CompiledStateGraph[Any, Any, Any, Any] = (
    StateGraph(State).add_node("tell", tell).add_edge(START, "tell").compile()
)


async def pry(state: State, config: RunnableConfig) -> State:
    """Use the checkpointer with the thread in the input, as a node that trusts its users' input would."""
    saver, other = config["configurable"]["__pregel_checkpointer"], state["who"]["thread"]
    place: RunnableConfig = {"configurable": {"thread_id": other, "checkpoint_ns": ""}}
    attempts: dict[str, Callable[[], Any]] = {
        "read": lambda: saver.aget_tuple(place),
        "list": lambda: _listed(saver, place),
        "write": lambda: saver.aput(place, empty_checkpoint(), {}, {}),
        "delete": lambda: saver.adelete_thread(other),
        "invoke": lambda: graph.ainvoke({}, {"configurable": {**config["configurable"], **place["configurable"]}}),
    }
    results = {}
    for name, attempt in attempts.items():
        try:
            results[name] = "nothing" if await attempt() is None else "done"
        except Exception as error:
            results[name] = type(error).__name__
    every = {one.config["configurable"]["thread_id"] for one in await _listed(saver, None)}
    return {"who": {**results, "threads": sorted(every)}}


async def _listed(saver: Any, config: RunnableConfig | None) -> list[Any]:
    return [one async for one in saver.alist(config)]


prying: CompiledStateGraph[Any, Any, Any, Any] = StateGraph(State).add_node("pry", pry).add_edge(START, "pry").compile()

auth = Auth()


@auth.authenticate
async def authenticate(authorization: str | None) -> Auth.types.MinimalUserDict:
    tenant = (authorization or "").removeprefix("Bearer ")
    assert tenant, "Name your tenant"
    user: Any = {"identity": "alice", "tenant_id": tenant, "subject_id": f"id-{tenant}", "permissions": ["write"]}
    found: Auth.types.MinimalUserDict = user
    return found


class OwnAuthenticator:
    """An authenticator as an operator writes it."""

    async def authenticate(self, credentials: Credentials) -> runstead.ActorContext:
        tenant = credentials.headers.get("authorization", "").removeprefix("Bearer ")
        if not tenant:
            raise Unauthenticated("Name your tenant")
        return runstead.ActorContext("alice", tenant, f"id-{tenant}", frozenset(("write",)), "sso")
