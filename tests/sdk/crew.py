"""Graphs for clients that delegate work: they answer, take long, interrupt, and fail; and one that sends
notifications.
"""

from __future__ import annotations

import asyncio
from typing import Any

from langchain_core.messages import AIMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt


async def _research(state: MessagesState) -> dict[str, Any]:
    """Takes long until stopped, interrupts, fails or answers, as requested."""
    asked = [message.text for message in state["messages"] if message.type == "human"]
    if "take long" in asked[-1]:
        await asyncio.sleep(60)
    if "ask me" in asked[-1]:
        return {"messages": [AIMessage(f"you said {interrupt('which one?')}")]}
    if "fail" in asked[-1]:
        raise ValueError("no such book")
    return {"messages": [AIMessage(f"{len(asked)} asked: {' / '.join(asked)}")]}


researcher = StateGraph(MessagesState).add_node("research", _research).add_edge(START, "research").compile()


async def _announce(state: MessagesState) -> dict[str, Any]:
    write = get_stream_writer()
    for percent in (50, 100):
        write({"name": "progress", "payload": {"percent": percent}})
    write({"name": "another", "payload": 1})
    return {}


announcing = StateGraph(MessagesState).add_node("announce", _announce).add_edge(START, "announce").compile()
