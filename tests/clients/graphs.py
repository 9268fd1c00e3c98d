"""Graphs for the JavaScript clients, beside the recorded ones: a long text, an agent that asks, and media."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph

from runstead.graphs.demo import agent as demo
from runstead.graphs.scripted import ScriptedChatModel, turns

WORDS = 60
PACE = 0.05


def tale(history: Sequence[BaseMessage]) -> AIMessage:
    """Numbered words, told in three seconds: who sees the end can tell whether one is missing or there twice."""
    turn = sum(message.type == "human" for message in history)
    return AIMessage(" ".join(f"w{number}" for number in range(1, WORDS + 1)) + f" end{turn}")


async def _tell(state: MessagesState) -> dict[str, Any]:
    model = ScriptedChatModel(script=tale, delay=PACE)
    return {"messages": [await model.ainvoke(state["messages"])]}


story = StateGraph(MessagesState).add_node("tell", _tell).add_edge(START, "tell").compile(name="story")


def payments(config: RunnableConfig) -> Any:
    """The demo's agent, quicker: it calls a tool, and asks before it calls another."""
    configurable = {"token_seconds": 0.002, **config.get("configurable", {})}
    return demo({**config, "configurable": configurable})


async def _show(state: MessagesState) -> dict[str, Any]:
    kinds = {"image": "image/png", "audio": "audio/wav", "video": "video/mp4", "file": "application/pdf"}
    blocks = [{"type": kind, "base64": "AAEC", "mime_type": mime} for kind, mime in kinds.items()]
    return {"messages": [AIMessage(content_blocks=blocks)]}  # type: ignore[arg-type]


pictures = StateGraph(MessagesState).add_node("show", _show).add_edge(START, "show").compile(name="pictures")


async def _announce(state: MessagesState) -> dict[str, Any]:
    for percent in (50, 100):
        get_stream_writer()({"name": "progress", "payload": {"percent": percent}})
    get_stream_writer()({"name": "another", "payload": 1})
    return {}


announcing = StateGraph(MessagesState).add_node("announce", _announce).add_edge(START, "announce").compile()

# Slow enough for a client that subscribes to a subagent when it hears of it.
_researcher = create_agent(
    ScriptedChatModel(script=turns(AIMessage("found it")), delay=0.4), tools=[], name="researcher"
)


@tool
async def task(description: str, subagent_type: str) -> str:
    """Give a task to an agent of this type."""
    done = await _researcher.ainvoke({"messages": [{"role": "user", "content": description}]})
    return str(done["messages"][-1].text)


_CALL = {"name": "task", "args": {"description": "find it", "subagent_type": "researcher"}, "id": "call_task"}
delegating = create_agent(
    ScriptedChatModel(script=turns(AIMessage("", tool_calls=[_CALL]), AIMessage("done"))),
    tools=[task],
    name="delegating",
)
