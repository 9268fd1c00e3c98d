"""Graphs that return the user they act for."""

from __future__ import annotations

import asyncio
import time
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class Observed(TypedDict, total=False):
    observed: dict[str, Any]
    wait: float


async def _tell(state: Observed, config: RunnableConfig) -> dict[str, Any]:
    if wait := state.get("wait"):
        time.sleep(wait)  # noqa: ASYNC251
    configurable = config["configurable"]
    shown = {
        name: value for name, value in configurable.items() if name.startswith("langgraph_auth") or name == "user_id"
    }
    return {"observed": {**shown, "tags": config.get("tags")}}


teller = StateGraph(Observed).add_node("tell", _tell).add_edge(START, "tell").compile(name="teller")


async def _wait(state: Observed) -> Observed:
    await asyncio.sleep(state.get("wait", 0))
    return {"wait": 0}


patient = StateGraph(Observed).add_node("wait_a_while", _wait).add_edge(START, "wait_a_while").compile(name="patient")


class Known(TypedDict, total=False):
    knows: list[str]


async def _know(state: Known, config: RunnableConfig) -> Known:
    """Show that the user's token is available, without putting it into the state."""
    user = config["configurable"]["langgraph_auth_user"]
    return {"knows": [user["token"][::-1], user["org"]]}


knower = StateGraph(Known).add_node("know", _know).add_edge(START, "know").compile(name="knower")
