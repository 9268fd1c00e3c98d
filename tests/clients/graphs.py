"""Graphs for the JavaScript clients, beside the recorded ones: a long text, an agent with interrupts, and media."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph

from runstead.graphs.demo import agent as demo
from runstead.graphs.scripted import ScriptedChatModel, turns

WORDS = 40
PACE = 0.005
GATE = ("gate",)


def tale(history: Sequence[BaseMessage]) -> AIMessage:
    """Numbered words: a reader of the end can detect missing and repeated ones."""
    turn = sum(message.type == "human" for message in history)
    return AIMessage(" ".join(f"w{number}" for number in range(1, WORDS + 1)) + f" end{turn}")


class GatedModel(ScriptedChatModel):
    """Pauses in the middle of its text until its gate opens, for as long as a test needs."""

    gate: Callable[[], Awaitable[None]]

    async def _astream(self, *given: Any, **options: Any) -> AsyncIterator[ChatGenerationChunk]:
        said = 0
        async for chunk in super()._astream(*given, **options):
            yield chunk
            said += 1
            if said == WORDS // 2:
                await self.gate()


async def _tell(state: MessagesState) -> dict[str, Any]:
    model = ScriptedChatModel(script=tale, delay=PACE)
    return {"messages": [await model.ainvoke(state["messages"])]}


async def _tell_half(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    store, thread_id = get_store(), str(config["configurable"]["thread_id"])

    async def gate() -> None:
        while await store.aget(GATE, thread_id) is None:  # noqa: ASYNC110 - another process opens it
            await asyncio.sleep(0.02)

    return {"messages": [await GatedModel(script=tale, delay=PACE, gate=gate).ainvoke(state["messages"])]}


story = StateGraph(MessagesState).add_node("tell", _tell).add_edge(START, "tell").compile(name="story")
saga = StateGraph(MessagesState).add_node("tell", _tell_half).add_edge(START, "tell").compile(name="saga")


def payments(config: RunnableConfig) -> Any:
    """A faster variant of the demo agent: it calls a tool, and interrupts before another call."""
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

# Slow enough for a client that subscribes to a subagent when it is announced.
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
