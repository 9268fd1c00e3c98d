"""Graphs with data that readers must not see."""

from __future__ import annotations

import json
from typing import Any, TypedDict

from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph


class VendorError(Exception):
    """An exception as raised by a client library, with more details than its user should see."""


class Text(TypedDict, total=False):
    text: str


async def _call(state: Text) -> dict[str, Any]:
    raise VendorError("the key sk-not-for-you is wrong")


async def _refuse(state: Text) -> dict[str, Any]:
    raise ValueError("no cats, please")


async def _see(state: Text, config: RunnableConfig) -> dict[str, Any]:
    return {"text": f"seen by the graph: {config['configurable']['langgraph_auth_user_id']}"}


async def _headers(state: Text, config: RunnableConfig) -> dict[str, Any]:
    names = ("x-", "user-agent", "authorization", "cookie")
    return {"text": json.dumps({k: v for k, v in sorted(config["configurable"].items()) if k.startswith(names)})}


def _graph(name: str, node: Any) -> Any:
    return StateGraph(Text).add_node(name, node).add_edge(START, name).compile(name=name)


vendor = _graph("call", _call)
refusing = _graph("refuse", _refuse)
seeing = _graph("see", _see)
parent = _graph("child", seeing)
headers = _graph("read", _headers)
