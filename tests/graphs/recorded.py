"""The graphs of the recorded transcripts, under the same names, so that frames can be compared.

No network and no keys: the model is one of langchain_core's fakes. Names of nodes, fields and texts are part of the
recordings.
"""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, cast

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_store, get_stream_writer
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime
from langgraph.types import Command, Send, interrupt
from typing_extensions import TypedDict


class Chat(TypedDict):
    messages: Annotated[list[AnyMessage], add_messages]


class Hitl(TypedDict, total=False):
    messages: Annotated[list[AnyMessage], add_messages]
    answer: str


class Multi(TypedDict, total=False):
    answers: Annotated[list[str], operator.add]


class Slow(TypedDict, total=False):
    steps: int
    delay: float
    done: int
    log: Annotated[list[str], operator.add]


class Ctx(TypedDict, total=False):
    color: str


class CtxState(TypedDict, total=False):
    seen: dict[str, Any]


def text_of(message: Any) -> str:
    content = getattr(message, "content", "")
    if isinstance(content, str):
        return content
    return " ".join(block.get("text", "") for block in content if isinstance(block, dict))


async def say(text: str) -> AIMessage:
    """A model call that streams ``text``, one word or space at a time."""
    model = GenericFakeChatModel(messages=iter([AIMessage(content=text)]))
    return await model.ainvoke("say")


# One model call.
async def _echo(state: Chat) -> dict[str, Any]:
    return {"messages": [await say(f"echo: {text_of(state['messages'][-1])}")]}


agent = StateGraph(Chat).add_node("model", _echo).add_edge(START, "model").add_edge("model", END).compile(name="agent")


# Interrupts, and continues with the answer.
def _ask(state: Hitl) -> dict[str, Any]:
    return {"answer": str(interrupt({"question": "approve?"}))}


async def _finish(state: Hitl) -> dict[str, Any]:
    return {"messages": [AIMessage(content=f"answer={state['answer']}")]}


hitl = (
    StateGraph(Hitl)
    .add_node("ask", _ask)
    .add_node("finish", _finish)
    .add_edge(START, "ask")
    .add_edge("ask", "finish")
    .add_edge("finish", END)
    .compile(name="hitl")
)


# Two interrupts at once.
def _ask_a(state: Multi) -> dict[str, Any]:
    return {"answers": [f"a={interrupt('a?')}"]}


def _ask_b(state: Multi) -> dict[str, Any]:
    return {"answers": [f"b={interrupt('b?')}"]}


multi = (
    StateGraph(Multi)
    .add_node("a", _ask_a)
    .add_node("b", _ask_b)
    .add_edge(START, "a")
    .add_edge(START, "b")
    .compile(name="multi")
)


# A subgraph with its own model and custom data.
async def _child_model(state: Chat) -> dict[str, Any]:
    get_stream_writer()({"progress": "child"})
    return {"messages": [await say("from child")]}


child = StateGraph(Chat).add_node("child_model", _child_model).add_edge(START, "child_model").compile(name="child")


async def _before(state: Chat) -> dict[str, Any]:
    get_stream_writer()({"progress": "parent"})
    return {"messages": [AIMessage(content="from parent")]}


nested = (
    StateGraph(Chat)
    .add_node("before", _before)
    .add_node("child", child)
    .add_edge(START, "before")
    .add_edge("before", "child")
    .add_edge("child", END)
    .compile(name="nested")
)

# Interrupts inside a subgraph.
_child_hitl = StateGraph(Hitl).add_node("ask", _ask).add_edge(START, "ask").compile(name="child_hitl")
nested_hitl = (
    StateGraph(Hitl)
    .add_node("child", _child_hitl)
    .add_node("finish", _finish)
    .add_edge(START, "child")
    .add_edge("child", "finish")
    .compile(name="nested_hitl")
)


# ``steps`` steps of ``delay`` seconds.
async def _tick(state: Slow) -> dict[str, Any]:
    await asyncio.sleep(state.get("delay", 0.2))
    count = state.get("done", 0) + 1
    get_stream_writer()({"tick": count})
    return {"done": count, "log": [f"tick {count}"]}


def _more(state: Slow) -> str:
    return "tick" if state.get("done", 0) < state.get("steps", 3) else END


slow = (
    StateGraph(Slow)
    .add_node("tick", _tick)
    .add_edge(START, "tick")
    .add_conditional_edges("tick", _more, ["tick", END])
    .compile(name="slow")
)


# The first node succeeds, the second raises.
async def _ok(state: Chat) -> dict[str, Any]:
    return {"messages": [AIMessage(content="before the failure")]}


async def _boom(state: Chat) -> dict[str, Any]:
    raise ValueError("boom")


fail = (
    StateGraph(Chat)
    .add_node("ok", _ok)
    .add_node("boom", _boom)
    .add_edge(START, "ok")
    .add_edge("ok", "boom")
    .compile(name="fail")
)

_SHOWN = ("color", "thread_id", "run_id", "assistant_id", "graph_id", "x-tenant", "langgraph_auth_user_id")


# Returns its config and context.
async def _see(state: CtxState, config: RunnableConfig, runtime: Runtime[Ctx]) -> dict[str, Any]:
    configurable, metadata = config.get("configurable", {}), config.get("metadata", {})
    return {
        "seen": {
            "context": dict(runtime.context or {}),
            "configurable": {name: value for name, value in configurable.items() if name in _SHOWN},
            "metadata": {name: value for name, value in metadata.items() if isinstance(value, str | int | float)},
            "tags": config.get("tags", []),
        }
    }


ctx = (
    StateGraph(CtxState, context_schema=Ctx).add_node("see", cast(Any, _see)).add_edge(START, "see").compile(name="ctx")
)


# Model, tool, model.
@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


async def _tools_model(state: Chat) -> dict[str, Any]:
    last = state["messages"][-1]
    if isinstance(last, ToolMessage):
        return {"messages": [await say(f"sum is {text_of(last)}")]}
    call = {"name": "add", "args": {"a": 2, "b": 3}, "id": "call_1", "type": "tool_call"}
    return {"messages": [AIMessage(content="", tool_calls=[call])]}


def _route_tools(state: Chat) -> str:
    return "tools" if getattr(state["messages"][-1], "tool_calls", None) else END


tools = (
    StateGraph(Chat)
    .add_node("model", _tools_model)
    .add_node("tools", ToolNode([add]))
    .add_edge(START, "model")
    .add_conditional_edges("model", _route_tools, ["tools", END])
    .add_edge("tools", "model")
    .compile(name="tools")
)


# Counts in the store of the server.
async def _remember(state: Slow) -> dict[str, Any]:
    store = get_store()
    item = await store.aget(("gauntlet", "counter"), "n")
    count = (item.value["n"] if item else 0) + 1
    await store.aput(("gauntlet", "counter"), "n", {"n": count})
    return {"done": count}


memory = StateGraph(Slow).add_node("remember", _remember).add_edge(START, "remember").compile(name="memory")


# Sends work to one node three times.
async def _plan(state: Slow) -> Command[Any]:
    return Command(update={"log": ["plan"]}, goto=[Send("work", {"done": number}) for number in range(3)])


async def _work(state: Slow) -> dict[str, Any]:
    return {"log": [f"work {state['done']}"]}


fanout = (
    StateGraph(Slow)
    .add_node("plan", _plan, destinations=("work",))
    .add_node("work", _work)
    .add_edge(START, "plan")
    .compile(name="fanout")
)


# Built for each run, from its config.
def factory(config: RunnableConfig) -> Any:
    greeting = config.get("configurable", {}).get("greeting", "hello")

    async def greet(state: Chat) -> dict[str, Any]:
        return {"messages": [AIMessage(content=greeting)]}

    return StateGraph(Chat).add_node("greet", greet).add_edge(START, "greet").compile(name="factory")
