"""A node that calls its own server, with a module-level client and a local one."""

from __future__ import annotations

from typing import Any

from langgraph.graph import START, StateGraph
from langgraph_sdk import get_client
from typing_extensions import TypedDict

SHARED = get_client()


class Called(TypedDict, total=False):
    thread_ids: list[str]
    said: Any


async def call(state: Called) -> dict[str, Any]:
    """Create a thread with each client, and run another graph."""
    threads = [await client.threads.create() for client in (SHARED, get_client())]
    said: Any = await SHARED.runs.wait(threads[0]["thread_id"], "measuring", input={"kind": "complex"})
    return {"thread_ids": [thread["thread_id"] for thread in threads], "said": said["value"]}


calling = StateGraph(Called).add_node("call", call).add_edge(START, "call").compile()
