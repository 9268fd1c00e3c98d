"""Graphs for shared threads."""

from __future__ import annotations

import asyncio
from operator import add
from typing import Annotated, Any, TypedDict

from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langgraph.config import get_store
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from runstead.graphs.scripted import ScriptedChatModel, turns


class Said(TypedDict, total=False):
    said: Annotated[list[str], add]
    wait: float


async def _note(state: Said, config: RunnableConfig) -> dict[str, Any]:
    """Writes a note to the store, which is private to the user, and appends to the shared thread."""
    user = config["configurable"]["user_id"]
    await get_store().aput(("notes",), user, {"by": user})
    await asyncio.sleep(state.get("wait") or 0)
    return {"said": [user]}


def _ask(state: Said, config: RunnableConfig) -> dict[str, Any]:
    answer = interrupt({"question": "May I?"})
    return {"said": [f"{config['configurable']['user_id']}: {answer}"]}


async def _speak(state: Said) -> dict[str, Any]:
    return {"said": [(await ScriptedChatModel(script=turns(AIMessage("Hello."))).ainvoke("Speak.")).text]}


clerk = StateGraph(Said).add_node("note", _note).add_edge(START, "note").compile(name="clerk")
asker = StateGraph(Said).add_node("ask", _ask).add_edge(START, "ask").compile(name="asker")
speaker = StateGraph(Said).add_node("speak", _speak).add_edge(START, "speak").compile(name="speaker")
