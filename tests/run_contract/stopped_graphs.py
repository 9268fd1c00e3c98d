"""Graphs that are stopped while a model is streaming: the answer itself, a router, a tool's own model, and others.

Every model emits three words and then waits for the file named by the human's message.
"""

from __future__ import annotations

import asyncio
import operator
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, HumanInTheLoopMiddleware
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    BaseMessage,
    HumanMessage,
    message_chunk_to_message,
)
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.tools import tool
from langgraph.channels.delta import DeltaChannel
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.graph.message import _messages_delta_reducer
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command
from typing_extensions import TypedDict


class Talker(BaseChatModel):
    """Emits ``words``, one after the other."""

    words: str = "one two three four five"
    waits: bool = True

    @property
    def _llm_type(self) -> str:
        return "talker"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Any:
        return self

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        raise NotImplementedError("it talks, and does nothing else")

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        chunks = [chunk async for chunk in self._astream(messages)]
        whole = message_chunk_to_message(sum((chunk.message for chunk in chunks[1:]), start=chunks[0].message))
        return ChatResult(generations=[ChatGeneration(message=whole)])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for place, word in enumerate(self.words.split()):
            if place == 3 and self.waits:
                await opened(messages)
            chunk = ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))
            if run_manager:
                await run_manager.on_llm_new_token(chunk.text, chunk=chunk)
            yield chunk


async def opened(messages: Sequence[BaseMessage]) -> None:
    """Create a file that reports the wait, and return when the file named by the first human message exists."""
    is_open = _reached(next(message.text for message in messages if message.type == "human"))
    for _ in range(20_000):
        if is_open():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError("the gate was not opened")


def _reached(gate: str) -> Callable[[], bool]:
    Path(gate).with_suffix(".reached").touch()
    return Path(gate).exists


class Conversation(MessagesState, total=False):
    label: str
    path: Annotated[list[str], operator.add]


async def _reply(state: Conversation) -> dict[str, Any]:
    return {"messages": [await Talker().ainvoke(state["messages"])], "path": ["reply"]}


async def _classify(state: Conversation) -> dict[str, Any]:
    choice = await Talker(words="sales not support please").ainvoke(state["messages"])
    return {"label": choice.text, "path": ["classify"]}


async def _route(state: Conversation) -> Command[Literal["reply", "__end__"]]:
    choice = await Talker(words="reply it is then").ainvoke(state["messages"])
    return Command(goto="reply" if "reply" in choice.text else "__end__")


async def _route_unsaid(state: Conversation) -> Any:
    choice = await Talker(words="reply it is then").ainvoke(state["messages"])
    return Command(goto="reply" if "reply" in choice.text else END)


def _choose(state: Conversation) -> Literal["reply", "__end__"]:
    return "reply"


async def _two_models(state: Conversation) -> dict[str, Any]:
    plan = await Talker(words="a plan", waits=False).ainvoke(state["messages"])
    return {"messages": [await Talker().ainvoke(state["messages"])], "label": plan.text, "path": ["two"]}


async def _title(state: Conversation) -> dict[str, Any]:
    return {"label": (await Talker(words="what a nice title").ainvoke(state["messages"])).text}


def _said(state: Conversation) -> dict[str, Any]:
    return {"messages": [AIMessage("said")], "path": ["said"]}


async def _aside(state: Conversation) -> dict[str, Any]:
    """The only node of its graph; its model's output is not a message."""
    return {"label": (await Talker().ainvoke(state["messages"])).text}


@tool
async def summarize(gate: str) -> str:
    """A model inside a tool."""
    return (await Talker(words="inner words of a tool").ainvoke([HumanMessage(gate)])).text


_researcher = create_agent(Talker(words="inner words of a subagent"), tools=[], name="researcher")


@tool
async def research(gate: str) -> str:
    """An agent inside a tool."""
    found = await _researcher.ainvoke({"messages": [HumanMessage(gate)]})
    return str(found["messages"][-1].text)


class Titled(AgentMiddleware):
    """Asks a model for a title after the agent's answer."""

    async def aafter_agent(self, state: Any, runtime: Any) -> None:
        await Talker(words="what a nice title").ainvoke(state["messages"])


class Lined(AgentMiddleware):
    """Rewrites the question with a model before the agent answers."""

    async def abefore_model(self, state: Any, runtime: Any) -> None:
        await Talker(words="the question in short").ainvoke(state["messages"])


def _graph(*nodes: tuple[str, Callable[..., Any]], state: Any = Conversation) -> StateGraph[Any]:
    """A linear sequence of nodes."""
    graph = StateGraph(state)
    for before, (name, node) in zip([START, *(name for name, _ in nodes)], nodes, strict=False):
        graph.add_node(name, node).add_edge(before, name)
    return graph


reply = _graph(("reply", _reply)).compile()
classifier = _graph(("classify", _classify), ("reply", _reply)).compile()
commander = (
    StateGraph(Conversation).add_node("route", _route).add_node("reply", _reply).add_edge(START, "route").compile()
)
unsaid = StateGraph(Conversation).add_node("route", _route_unsaid).add_node("reply", _reply)
commander_unsaid = unsaid.add_edge(START, "route").compile()
chooser = StateGraph(Conversation).add_node("classify", _classify).add_node("reply", _reply).add_edge(START, "classify")
conditional = chooser.add_conditional_edges("classify", _choose).compile()
two_models = _graph(("two", _two_models)).compile()
titled = _graph(("said", _said), ("title", _title)).compile()
aside = _graph(("aside", _aside)).compile()
branches = _graph(("reply", _reply)).add_node("label", _classify).add_edge(START, "label").compile()


class Caller(Talker):
    """Passes the path of the file on to the tool that it calls."""

    tool: str = "summarize"

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if messages[-1].type == "human":
            call = {"name": self.tool, "args": {"gate": messages[-1].text}, "id": "call-1"}
            yield ChatGenerationChunk(
                message=AIMessageChunk(content="", tool_calls=AIMessage("", tool_calls=[call]).tool_calls)
            )
            return
        async for chunk in super()._astream(messages, stop, run_manager, **kwargs):
            yield chunk


async def _call_tools(state: Conversation) -> dict[str, Any]:
    return {"messages": [await Caller().ainvoke(state["messages"])]}


def _with_tools(tool: Any) -> Any:
    """The agent of LangGraph's tutorials."""
    graph = StateGraph(Conversation).add_node("chatbot", _call_tools).add_node("tools", ToolNode([tool]))
    return (
        graph.add_edge(START, "chatbot").add_conditional_edges("chatbot", tools_condition).add_edge("tools", "chatbot")
    )


@tool("summarize")
def quick(gate: str) -> str:
    """Without a model."""
    return "quick"


class Thinker(Talker):
    """Emits a text in blocks, and starts a tool call."""

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        call = {"name": "quick", "args": '{"ga', "id": "call-1", "index": 1, "type": "tool_call_chunk"}
        blocks: list[list[Any]] = [
            [{"type": "text", "text": "let me ", "index": 0}],
            [{"type": "text", "text": "see", "index": 0}],
            [{"type": "tool_use", "id": "call-1", "name": "quick", "input": {}, "index": 1}],
        ]
        for place, block in enumerate(blocks):
            calls: list[Any] = [call] if place == 2 else []
            yield ChatGenerationChunk(message=AIMessageChunk(content=block, tool_call_chunks=calls))
        await opened(messages)


chatbot = _with_tools(summarize)
chatbot_after_tool = _with_tools(quick)
calling = create_agent(Thinker(), tools=[quick])
agent = create_agent(Talker(), tools=[summarize])
approving_agent = create_agent(
    Talker(), tools=[summarize], middleware=[HumanInTheLoopMiddleware(interrupt_on={"summarize": True})]
)
tool_agent = create_agent(Caller(), tools=[summarize])
subagent_agent = create_agent(Caller(tool="research"), tools=[research])
titled_agent = create_agent(Talker(waits=False), tools=[], middleware=[Titled()])
lined_agent = create_agent(Talker(waits=False), tools=[], middleware=[Lined()])


class DeltaState(TypedDict):
    messages: Annotated[list[AnyMessage], DeltaChannel(_messages_delta_reducer)]


class AddedState(TypedDict):
    messages: Annotated[list[Any], operator.add]


class LastState(TypedDict):
    messages: list[Any]


async def _reply_alone(state: Any) -> dict[str, Any]:
    return {"messages": [await Talker().ainvoke(state["messages"])]}


delta = _graph(("reply", _reply_alone), state=DeltaState).compile()
added = _graph(("reply", _reply_alone), state=AddedState).compile()
last = _graph(("reply", _reply_alone), state=LastState).compile()
