"""A ReAct agent in the style of the react-agent template: a context with defaults, a graph of two nodes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Annotated, Any, Literal

from langchain_core.messages import AIMessage, AnyMessage
from langgraph.graph import StateGraph, add_messages
from langgraph.managed import IsLastStep
from langgraph.prebuilt import ToolNode
from langgraph.runtime import Runtime, get_runtime

from agents.models import load_chat_model


@dataclass(kw_only=True)
class Context:
    """The context for the agent."""

    system_prompt: str = field(default="You are a helpful AI assistant.")
    model: str = field(default="openai/gpt-5")
    max_search_results: int = field(default=10)

    def __post_init__(self) -> None:
        """Read environment variables for attributes that were not passed as arguments."""
        for each in fields(self):
            if each.init and getattr(self, each.name) == each.default:
                setattr(self, each.name, os.environ.get(each.name.upper(), each.default))


@dataclass
class InputState:
    """The input of the agent."""

    messages: Annotated[Sequence[AnyMessage], add_messages] = field(default_factory=list)


@dataclass
class State(InputState):
    """The complete state of the agent."""

    is_last_step: IsLastStep = field(default=False)


async def search(query: str) -> dict[str, Any]:
    """Search for general web results."""
    runtime = get_runtime(Context)
    return {"query": query, "results": int(runtime.context.max_search_results)}


TOOLS = [search]


async def call_model(state: State, runtime: Runtime[Context]) -> dict[str, list[AIMessage]]:
    """Call the model that powers the agent."""
    model = load_chat_model(runtime.context.model).bind_tools(TOOLS)
    response = await model.ainvoke([{"role": "system", "content": runtime.context.system_prompt}, *state.messages])
    if state.is_last_step and response.tool_calls:
        return {"messages": [AIMessage(id=response.id, content="Sorry, I could not find an answer in time.")]}
    return {"messages": [response]}


def route_model_output(state: State) -> Literal["__end__", "tools"]:
    """Determine the next node based on the model's output."""
    last_message = state.messages[-1]
    return "tools" if isinstance(last_message, AIMessage) and last_message.tool_calls else "__end__"


builder = StateGraph(State, input_schema=InputState, context_schema=Context)
builder.add_node(call_model)
builder.add_node("tools", ToolNode(TOOLS))
builder.add_edge("__start__", "call_model")
builder.add_conditional_edges("call_model", route_model_output)
builder.add_edge("tools", "call_model")
graph = builder.compile(name="ReAct Agent")
