"""Graphs for the input and output of runs: contexts, interrupts, output schemas, user keys."""

from __future__ import annotations

import asyncio
import operator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from langchain.agents import create_agent
from langchain.agents.middleware import HumanInTheLoopMiddleware
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime, get_runtime
from langgraph.types import Send, interrupt
from pydantic import BaseModel

from runstead.graphs.scripted import ScriptedChatModel, turns


class Log(TypedDict, total=False):
    log: Annotated[list[Any], operator.add]
    seen: Any


class Decision(BaseModel):
    """An answer that `interrupt` checks."""

    type: Literal["approve", "reject"]
    amount: int | None = None


def _decide(state: Log) -> dict[str, Any]:
    decision = interrupt({"question": "pay?"}, response_schema=Decision)
    return {"log": [f"{decision.type} {decision.amount}"]}


decide = StateGraph(Log).add_node("decide", _decide).add_edge(START, "decide").compile(name="decide")
decide_below = StateGraph(Log).add_node("child", decide).add_edge(START, "child").compile(name="decide_below")


def _form(state: Log) -> dict[str, Any]:
    schema = {"type": "object", "required": ["name"], "properties": {"name": {"type": "string", "minLength": 2}}}
    return {"log": [interrupt("who?", response_schema=schema)]}


form = StateGraph(Log).add_node("form", _form).add_edge(START, "form").compile(name="form")


def _ask(state: Log) -> dict[str, Any]:
    return {"seen": [interrupt("one?")]}


ask = StateGraph(Log).add_node("ask", _ask).add_edge(START, "ask").compile(name="ask")
ask_below = StateGraph(Log).add_node("child", ask).add_edge(START, "child").compile(name="ask_below")


@entrypoint()
def ask_functional(given: Any) -> dict[str, Any]:
    return {"answer": [interrupt("one?")]}


@tool
def pay(number: str) -> str:
    """Pay an invoice."""
    return f"paid {number}"


_CALLS = [{"name": "pay", "args": {"number": number}, "id": f"call-{number}"} for number in ("1", "2")]

payments = create_agent(
    ScriptedChatModel(script=turns(AIMessage("", tool_calls=_CALLS), AIMessage("done"))),
    tools=[pay],
    middleware=[
        HumanInTheLoopMiddleware(
            interrupt_on={"pay": {"allowed_decisions": ["approve", "reject"]}}, interrupt_mode="per_call"
        )
    ],
)
"""Interrupts separately for each of two calls."""


def _now(state: Log) -> dict[str, Any]:
    return {"seen": interrupt("now?")}


async def _slow(state: Log) -> dict[str, Any]:
    await asyncio.sleep(0.05)
    return {"log": ["slow"]}


def _beside(asking: Any) -> Any:
    """A graph of which one branch interrupts and the other one ends after that."""
    graph = StateGraph(Log).add_node("asking", asking).add_node("slow", _slow)
    return graph.add_edge(START, "asking").add_edge(START, "slow").compile()


beside = _beside(_now)
beside_below = _beside(StateGraph(Log).add_node("now", _now).add_edge(START, "now").compile())


def _twice(name: str) -> Any:
    def node(state: Log) -> dict[str, Any]:
        return {"log": [f"{name} {interrupt(f'{name} 1')} {interrupt(f'{name} 2')}"]}

    return node


pair = (
    StateGraph(Log)
    .add_node("a", _twice("a"))
    .add_node("b", _twice("b"))
    .add_edge(START, "a")
    .add_edge(START, "b")
    .compile()
)
"""Two branches with two interrupts each."""


class Question(TypedDict):
    question: str


class Answer(TypedDict):
    answer: Any


class Whole(Question, Answer, total=False):
    private: str


def _think(state: Whole) -> dict[str, Any]:
    return {"private": f"secret {state['question']}"}


def _answer(state: Whole) -> dict[str, Any]:
    return {"answer": interrupt("what?") if state["question"] == "ask" else state["private"]}


def _fail(state: Whole) -> dict[str, Any]:
    raise ValueError("no answer")


def _narrow(last: Any) -> Any:
    graph = StateGraph(Whole, input_schema=Question, output_schema=Answer).add_node("think", _think)
    return graph.add_node("last", last).add_edge(START, "think").add_edge("think", "last").compile()


narrow = _narrow(_answer)
narrow_fails = _narrow(_fail)
narrow_above = StateGraph(Whole).add_node("child", narrow).add_edge(START, "child").compile()


class ModelContext(BaseModel):
    user: str = "unknown"
    level: int = 0


@dataclass
class DataContext:
    user: str = "unknown"
    level: int = 0


class DictContext(TypedDict):
    user: NotRequired[str]


class ModelNeeds(BaseModel):
    user: str
    tenant: str
    level: int = 0


@dataclass
class DataNeeds:
    user: str
    tenant: str
    level: int = 0


def _tell(state: Log, runtime: Runtime[Any]) -> dict[str, Any]:
    context = runtime.context
    return {"log": [f"{type(context).__name__} {context if isinstance(context, dict | None) else vars(context)}"]}


def _tell_asked(state: Log, runtime: Runtime[Any]) -> dict[str, Any]:
    return {"log": [f"{interrupt('on?')} {runtime.context.user}"]}


def _send(state: Log) -> list[Send]:
    return [Send("tell", {})]


def _with_context(schema: Any, node: Any = _tell) -> Any:
    return StateGraph(Log, context_schema=schema).add_node("tell", node).add_edge(START, "tell").compile()


model_context = _with_context(ModelContext)
data_context = _with_context(DataContext)
dict_context = _with_context(DictContext)
model_needs = _with_context(ModelNeeds)
data_needs = _with_context(DataNeeds)
needs_and_asks = _with_context(DataNeeds, _tell_asked)


def _show_keys(state: Log, config: RunnableConfig) -> dict[str, Any]:
    return {"log": [key for key in ("user", "level", "other") if key in config["configurable"]]}


model_keys = _with_context(ModelContext, _show_keys)
data_keys = _with_context(DataContext, _show_keys)
dict_keys = _with_context(DictContext, _show_keys)
no_schema_keys = _with_context(None, _show_keys)
context_below = (
    StateGraph(Log, context_schema=ModelContext).add_node("child", model_context).add_edge(START, "child").compile()
)
context_sent = (
    StateGraph(Log, context_schema=DataContext)
    .add_node("tell", _tell)
    .add_conditional_edges(START, _send, ["tell"])
    .compile()
)


def made_needs(config: RunnableConfig) -> Any:
    """The schema of a factory's graph is unknown before it is built."""
    return data_needs


_SHOWN = ("user_id", "tenant", "langgraph_auth_user_id")


def _show(state: Log, config: RunnableConfig) -> dict[str, Any]:
    configurable, context = config["configurable"], get_runtime().context
    return {"seen": {name: configurable[name] for name in _SHOWN if name in configurable}, "log": [context]}


shown = StateGraph(Log).add_node("show", _show).add_edge(START, "show").compile()


def made_for_user(config: RunnableConfig) -> Any:
    """A graph for each user, with a node of their name."""
    node = f"for {config['configurable']['user_id']}"
    return StateGraph(Log).add_node(node, _ask).add_edge(START, node)
