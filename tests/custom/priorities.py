"""A priority function that follows the run's metadata, and a graph that records the start order of its runs."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, TypedDict

from langgraph.graph import END, START, StateGraph
from langgraph_sdk import Auth, Priority

ASKED: list[Any] = []
LOOPS: list[int] = []
BEGUN: list[str] = []

priority = Priority()
nothing = Priority()


class State(TypedDict, total=False):
    name: str
    seconds: float


@priority.assign
async def assign(context: Any) -> Any:
    ASKED.append(context)
    LOOPS.append(threading.get_ident())
    said = context.run_metadata
    match said.get("then"):
        case "raise":
            raise LookupError("the plan of the user is not known")
        case "raise with data":
            raise LookupError(said["data"])
        case "refuse":
            raise Auth.exceptions.HTTPException(status_code=429, detail="enough for today")
        case "exit":
            raise SystemExit(1)
    return said.get("answer")


async def note(state: State) -> State:
    BEGUN.append(state["name"])
    LOOPS.append(threading.get_ident())
    await asyncio.sleep(state.get("seconds", 0))
    return {}


noting = StateGraph(State).add_node("note", note).add_edge(START, "note").add_edge("note", END).compile()


async def without_decorator(context: Any) -> None:
    """Not registered."""
