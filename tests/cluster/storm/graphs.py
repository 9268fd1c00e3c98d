"""Deterministic graphs for a storm; a file records each step with its attempt and time."""

# No `from __future__ import annotations`: LangGraph reads the annotations of states, nodes and tools.
import asyncio
import operator
import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from runstead.graphs.scripted import ScriptedChatModel

_HEAVY = 64 * 1024 * 1024
"""Bytes that a heavy step needs."""


@contextmanager
def witnessed(config: RunnableConfig) -> Iterator[None]:
    """Record the start and the end of a step, whatever its outcome; a killed process leaves only the start."""
    ids = config["metadata"]
    who = f"{os.getpid()} {ids['thread_id']} {ids['run_id']} {ids['run_attempt']}"
    _write(f"begin {time.monotonic():.6f} {who}\n")
    try:
        yield
    finally:
        _write(f"end {time.monotonic():.6f} {who}\n")


def _write(line: str) -> None:
    # One write to a file opened for appending is atomic and ordered, also between processes.
    os.write(_witness(), line.encode())


@cache
def _witness() -> int:
    # Opened once: the end of a step is also written when the process has no descriptors left.
    return os.open(os.environ["STORM_WITNESS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)


# --- steps: the state counts the steps taken --------------------------------------------------------------
class Steps(TypedDict, total=False):
    name: str
    steps: int
    pause: float
    gate: str
    """A file: the steps continue until it exists, so that a run lasts as long as a test needs on any machine."""
    log: Annotated[list[str], operator.add]


async def _heavy_step(state: Steps, config: RunnableConfig) -> Steps:
    with witnessed(config):
        try:
            block = bytearray(_HEAVY)
        except MemoryError:
            # Like the kernel kills a process at its memory limit.
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(state.get("pause", 0.04))
        del block
    return {"log": [f"{state['name']}:{_taken(state)}"]}


def _taken(state: Steps) -> int:
    """Steps of the current run: earlier runs of the thread have left theirs in the same log."""
    return sum(entry.startswith(f"{state['name']}:") for entry in state.get("log", []))


async def _step(state: Steps, config: RunnableConfig) -> Steps:
    with witnessed(config):
        await asyncio.sleep(state.get("pause", 0.04))
    return {"log": [f"{state['name']}:{_taken(state)}"]}


def _step_in_a_thread(state: Steps, config: RunnableConfig) -> Steps:
    # It needs a file descriptor, like every client of a model or a database.
    with witnessed(config), open(os.devnull):
        time.sleep(state.get("pause", 0.04))
    return {"log": [f"{state['name']}:{_taken(state)}"]}


def _more(state: Steps) -> str:
    is_open = "gate" not in state or os.path.exists(state["gate"])
    return END if is_open and _taken(state) >= state["steps"] else "step"


def _looping(name: str, step: Any) -> Any:
    graph = StateGraph(Steps).add_node("step", step).add_edge(START, "step")
    return graph.add_conditional_edges("step", _more, ["step", END]).compile(name=name)


steps = _looping("steps", _step)
heavy = _looping("heavy", _heavy_step)
steps_in_a_thread = _looping("steps_in_a_thread", _step_in_a_thread)


# --- keeps: writes wherever an agent can: its state, its stream, the store -------------------------------------------
async def _keep(state: Steps, config: RunnableConfig) -> Steps:
    number = _taken(state)
    with witnessed(config):
        await asyncio.sleep(state.get("pause", 0.04))
        get_stream_writer()({"number": number})
        await get_store().aput(("kept", state["name"]), str(number), {"by": config["metadata"]["run_attempt"]})
    return {"log": [f"{state['name']}:{number}"]}


keeps = _looping("keeps", _keep)


# --- asks: waits for a human between two steps ----------------------------------------------------------------------
class Asked(TypedDict, total=False):
    name: str
    log: Annotated[list[str], operator.add]


async def _before(state: Asked, config: RunnableConfig) -> Asked:
    with witnessed(config):
        await asyncio.sleep(0.03)
    return {"log": [f"{state['name']}:asks"]}


async def _ask(state: Asked, config: RunnableConfig) -> Asked:
    answer = interrupt({"question": state["name"]})
    with witnessed(config):
        await asyncio.sleep(0.03)
    return {"log": [f"{state['name']}:{answer}"]}


asks = (
    StateGraph(Asked)
    .add_node("before", _before)
    .add_node("ask", _ask)
    .add_edge(START, "before")
    .add_edge("before", "ask")
    .add_edge("ask", END)
    .compile(name="asks")
)


# --- agent: tools and tokens, with a scripted model -----------------------------------------------------------------
@tool
async def measure(thing: str, config: RunnableConfig) -> str:
    """Return the length of a text."""
    with witnessed(config):
        await asyncio.sleep(0.02)
    return f"{thing} is {len(thing)} long"


def _next_message(history: Sequence[BaseMessage]) -> AIMessage:
    asked = max(place for place, message in enumerate(history) if isinstance(message, HumanMessage))
    measured = sum(isinstance(message, ToolMessage) for message in history[asked:])
    if measured < 2:
        call = {"name": "measure", "args": {"thing": f"thing {measured}"}, "id": f"call-{asked}-{measured}"}
        return AIMessage("Let me measure that first.", tool_calls=[call])
    return AIMessage(f"You said {history[asked].text!r}, and both things are seven long. That is all there is to it.")


agent = create_agent(ScriptedChatModel(script=_next_message, delay=0.01), tools=[measure], name="agent")
