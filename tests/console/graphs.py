"""Graphs for the console's tests: a question with a form, a run of many events, and one with files."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from langchain_core.callbacks import adispatch_custom_event
from langchain_core.messages import AIMessage
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import interrupt
from pydantic import BaseModel, Field


class Decision(BaseModel):
    """A decision with fields of several types."""

    verdict: Literal["accept", "refuse"] = Field(description="Accept or refuse the offer.")
    price: float = Field(ge=0, description="The price to offer.")
    is_urgent: bool = False
    comment: str | None = None


async def _ask(state: MessagesState) -> dict[str, Any]:
    decision = interrupt({"question": "Take the offer of Aurora?"}, response_schema=Decision)
    return {"messages": [AIMessage(f"The answer was {decision}.")]}


survey = StateGraph(MessagesState).add_node("ask", _ask).add_edge(START, "ask").compile(name="survey")


class Count(TypedDict):
    count: int


async def _emit(state: Count) -> dict[str, Any]:
    for number in range(state["count"]):
        await adispatch_custom_event("tick", {"number": number, "text": "x" * 100})
    return {}


ticking = StateGraph(Count).add_node("emit", _emit).add_edge(START, "emit").compile(name="ticking")
