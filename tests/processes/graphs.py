"""The graphs of these tests' server processes: deterministic, without network, each for one purpose."""

# No `from __future__ import annotations`: LangGraph reads the annotations of states and nodes.
import asyncio
import operator
import os
import threading
import time
from collections.abc import Sequence
from typing import Annotated, Any

from langchain.agents import create_agent
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict

from runstead.graphs.scripted import ScriptedChatModel


# --- steps: a run that takes a while, and whose state counts the steps taken ---------------------
class Steps(TypedDict, total=False):
    name: str
    steps: int
    pause: float
    gate: str
    log: Annotated[list[str], operator.add]


def steps_taken(state: Steps) -> int:
    """Steps of the current run: earlier runs of the thread have left theirs in the same log."""
    return sum(entry.startswith(f"{state['name']}:") for entry in state.get("log", []))


def is_open(gate: str) -> bool:
    """True if the test has created the file: no event object reaches this process."""
    return not gate or os.path.exists(gate)


async def _step(state: Steps) -> Steps:
    await asyncio.sleep(state.get("pause", 0.05))
    while not is_open(state.get("gate", "")):  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    return {"log": [f"{state['name']}:{steps_taken(state)}"]}


def _more_steps(state: Steps) -> str:
    return "step" if steps_taken(state) < state["steps"] else END


steps = (
    StateGraph(Steps)
    .add_node("step", _step)
    .add_edge(START, "step")
    .add_conditional_edges("step", _more_steps, ["step", END])
    .compile(name="steps")
)


# --- agent: tools and tokens, with a scripted model ----------------------------------------------------------------
@tool
def measure(thing: str) -> str:
    """Return the length of a text."""
    return f"{thing} is {len(thing)} long"


def _next_message(history: Sequence[BaseMessage]) -> AIMessage:
    asked = max(place for place, message in enumerate(history) if isinstance(message, HumanMessage))
    measured = sum(isinstance(message, ToolMessage) for message in history[asked:])
    if measured < 2:
        call = {"name": "measure", "args": {"thing": f"thing {measured}"}, "id": f"call-{asked}-{measured}"}
        return AIMessage("Let me measure that first.", tool_calls=[call])
    return AIMessage(f"You said {history[asked].text!r}, and both things are seven long. That is all there is to it.")


agent = create_agent(ScriptedChatModel(script=_next_message, delay=0.01), tools=[measure], name="agent")


# --- talker: many tokens ---------------------------------------------------------------------------------------------
class Talk(MessagesState, total=False):
    tokens: int
    pause: float


async def _talk(state: Talk) -> dict[str, Any]:
    count = state.get("tokens", 200)
    model = ScriptedChatModel(
        script=lambda _: AIMessage(" ".join(f"w{i}" for i in range(count))), delay=state.get("pause", 0.0)
    )
    get_stream_writer()({"tokens": count})
    return {"messages": [await model.ainvoke(state["messages"])]}


talker = StateGraph(Talk).add_node("talk", _talk).add_edge(START, "talk").add_edge("talk", END).compile(name="talker")


# --- witness: side effects that a file remembers in their order -----------------------------------------------------
class Witnessed(TypedDict, total=False):
    name: str
    file: str
    pause: float
    gate: str
    log: Annotated[list[str], operator.add]


def _write(state: Witnessed, word: str) -> None:
    # One write to a file opened for appending is atomic and ordered, also between threads.
    file = os.open(state["file"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{word} {state['name']}\n".encode())
    finally:
        os.close(file)


async def _witness(state: Witnessed) -> Witnessed:
    _write(state, "begin")
    try:
        await asyncio.sleep(state.get("pause", 0.02))
    finally:
        _write(state, "end")
    return {"log": [state["name"]]}


def _witness_in_a_thread(state: Witnessed) -> Witnessed:
    _write(state, "begin")
    try:
        time.sleep(state.get("pause", 0.02))
        while not is_open(state.get("gate", "")):
            time.sleep(0.01)
    finally:
        _write(state, "end")
    return {"log": [state["name"]]}


witness = StateGraph(Witnessed).add_node("witness", _witness).add_edge(START, "witness").compile(name="witness")
witness_in_a_thread = (
    StateGraph(Witnessed).add_node("witness", _witness_in_a_thread).add_edge(START, "witness").compile(name="sync")
)


# --- noop: nothing but the run itself --------------------------------------------------------------------------------
class Small(TypedDict, total=False):
    n: int


async def _noop(state: Small) -> Small:
    return {"n": state.get("n", 0) + 1}


noop = StateGraph(Small).add_node("noop", _noop).add_edge(START, "noop").compile(name="noop")


# --- blocks, burns: agent code as it should not be ----------------------------------------------------------------
class Rude(TypedDict, total=False):
    seconds: float
    held: tuple[float, float]
    """Record start and end on the clock that all processes of a machine share."""


async def _block(state: Rude) -> Rude:
    began = time.monotonic()
    time.sleep(state["seconds"])  # noqa: ASYNC251  (that is the rudeness)
    return {"held": (began, time.monotonic())}


async def _burn(state: Rude) -> Rude:
    began = time.monotonic()
    count = 0
    while time.monotonic() < began + state["seconds"]:
        count += 1
    return {"held": (began, time.monotonic())}


blocks = StateGraph(Rude).add_node("block", _block).add_edge(START, "block").compile(name="blocks")
burns = StateGraph(Rude).add_node("burn", _burn).add_edge(START, "burn").compile(name="burns")


# --- hostile: values and errors that JSON, SQL or a log line cannot carry --------------------------------------------
class Hostile(TypedDict, total=False):
    kind: str
    where: str
    value: Any


class Unspeakable(Exception):
    """An exception whose text cannot be produced."""

    def __str__(self) -> str:
        raise RuntimeError("no text for you")

    __repr__ = __str__


class Unrepresentable:
    """An object that raises on every access."""

    def __repr__(self) -> str:
        raise RuntimeError("do not look")


def _deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = [value]
    return value


VALUES: dict[str, Any] = {
    "nan": lambda: {"x": float("nan"), "y": [float("inf"), -float("inf")]},
    "bytes": lambda: b"\x00\xff\xfe",
    "surrogate": lambda: "half \ud800 of a pair",
    "nul": lambda: "a\x00b",
    "lock": threading.Lock,
    "set": lambda: {1, 2, 3},
    "large": lambda: "x" * 5_000_000,
    "deep": lambda: _deep(500),
    "very deep": lambda: _deep(20_000),
    "huge number": lambda: 10**400,
    "odd keys": lambda: {(1, 2): "tuple", None: "none", 3.5: "float", "\ud800": "half"},
    "no repr": Unrepresentable,
    "line breaks": lambda: "data: no\r\n\r\nevent: forged\r\ndata: {}\r\n\r\n\u2028\u2029",
    "generator": lambda: (number for number in range(3)),
    "function": lambda: len,
}

ERRORS: dict[str, Any] = {
    "unspeakable": Unspeakable,
    "huge text": lambda: ValueError("long " * 2_000_000),
    "surrogate text": lambda: ValueError("half \ud800 of a pair, and \x00"),
    "base exception": lambda: SystemExit(3),
    "keyboard interrupt": KeyboardInterrupt,
    "cancelled": asyncio.CancelledError,
    "stop iteration": StopIteration,
    "recursion": RecursionError,
    "group": lambda: ExceptionGroup("many", [ValueError("one"), KeyError("two")]),
}


async def _hostile(state: Hostile) -> Hostile:
    kind, where = state["kind"], state["where"]
    if where == "error":
        raise ERRORS[kind]()
    value = VALUES[kind]()
    if where == "custom":
        get_stream_writer()(value)
        return {}
    return {"value": value}


hostile = StateGraph(Hostile).add_node("hostile", _hostile).add_edge(START, "hostile").compile(name="hostile")
