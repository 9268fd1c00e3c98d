"""Graphs that tell who they act for."""

from __future__ import annotations

import time
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class Told(TypedDict, total=False):
    told: dict[str, Any]
    wait: float


async def _tell(state: Told, config: RunnableConfig) -> dict[str, Any]:
    if wait := state.get("wait"):
        time.sleep(wait)  # noqa: ASYNC251
    configurable = config["configurable"]
    shown = {
        name: value for name, value in configurable.items() if name.startswith("langgraph_auth") or name == "user_id"
    }
    return {"told": {**shown, "tags": config.get("tags")}}


teller = StateGraph(Told).add_node("tell", _tell).add_edge(START, "tell").compile(name="teller")
