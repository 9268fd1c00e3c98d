"""Graphs that chat: one that summarizes, one that asks and waits, and deepagents' with a subagent."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepagents import create_deep_agent
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt

from runstead.graphs.scripted import ScriptedChatModel, turns


def reply(history: Sequence[BaseMessage]) -> AIMessage:
    """Answer the last message."""
    return AIMessage(f"re: {history[-1].text}")


summaries = SummarizationMiddleware(
    model=ScriptedChatModel(script=turns(AIMessage("They talked."))), trigger=("messages", 5), keep=("messages", 2)
)
chat = create_agent(ScriptedChatModel(script=reply), middleware=[summaries])


async def answer(state: MessagesState) -> dict[str, Any]:
    """Ask a human, or wait for the file that a message names, and answer."""
    said = state["messages"][-1].text
    if said.startswith("/"):
        while not Path(said).exists():  # noqa: ASYNC110, ASYNC240
            await asyncio.sleep(0.02)
    return {"messages": [AIMessage(interrupt("Go on?") if said == "ask" else f"re: {said}")]}


polite = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer").compile()

delegating = AIMessage(
    "", tool_calls=[{"name": "task", "args": {"description": "do it", "subagent_type": "helper"}, "id": "call"}]
)
helper = {
    "name": "helper",
    "description": "helps",
    "system_prompt": "Help.",
    "model": ScriptedChatModel(script=turns(AIMessage("Done by a helper."))),
}
deep: Any = create_deep_agent(
    model=ScriptedChatModel(script=turns(delegating, AIMessage("It is done."))),
    subagents=[helper],  # type: ignore[list-item]
)
