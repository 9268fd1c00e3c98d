"""Agents that delegate to others of their own server, with clients without a URL; users see their own resources
only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, StateGraph
from langgraph_sdk import Auth, get_client
from typing_extensions import TypedDict

from runstead.graphs.scripted import ScriptedChatModel

CLIENT = get_client()
GATES: dict[str, asyncio.Event] = {}


class Gated(TypedDict, total=False):
    """``name`` of a gate, and the result."""

    name: str
    parts: list[Any]


async def open_gate(state: Gated) -> Gated:
    GATES.setdefault(state["name"], asyncio.Event()).set()
    return {}


async def speak(state: Gated) -> Gated:
    """Emit one event, and another when the gate is open."""
    write = get_stream_writer()
    write("first")
    async with asyncio.timeout(20):
        await GATES.setdefault(state["name"], asyncio.Event()).wait()
    write("second")
    return {}


async def relay(state: Gated) -> Gated:
    """Open the gate as soon as the other run has emitted its first event."""
    parts = []
    async for part in CLIENT.runs.stream(None, "speaking", input={"name": state["name"]}, stream_mode="custom"):
        if part.event == "custom":
            parts.append(part.data)
            GATES.setdefault(state["name"], asyncio.Event()).set()
        elif part.event == "error":
            raise RuntimeError(part.data)
    return {"parts": parts}


async def leave_early(state: Gated) -> Gated:
    """Read one event of a run that is cancelled when its reader disconnects."""
    thread = await CLIENT.threads.create()
    stream: Any = CLIENT.runs.stream(
        thread["thread_id"],
        "speaking",
        input={"name": state["name"]},
        stream_mode="custom",
        on_disconnect="cancel",
    )
    async for part in stream:
        if part.event == "custom":
            break
    await stream.aclose()
    (run,) = await CLIENT.runs.list(thread["thread_id"])
    await CLIENT.runs.join(thread["thread_id"], run["run_id"])
    (run,) = await CLIENT.runs.list(thread["thread_id"])
    return {"parts": [run["status"]]}


def graph_of(node: Any) -> Any:
    return StateGraph(Gated).add_node("node", node).add_edge(START, "node").compile()


opening, speaking, relaying, leaving = (graph_of(node) for node in (open_gate, speak, relay, leave_early))


def lead(history: Sequence[BaseMessage]) -> AIMessage:
    last = history[-1]
    if last.type == "human" and "<status>" in last.text:
        return AIMessage(f"heard: {last.text}")
    if last.type == "human":
        call = {"description": last.text, "subagent_type": "researcher"}
        return AIMessage("", tool_calls=[{"name": "start_async_task", "args": call, "id": f"call-{len(history)}"}])
    return AIMessage("started")


class WaitingModel(ScriptedChatModel):
    """Answers when the gate named by the task is open."""

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        await GATES.setdefault(messages[-1].text, asyncio.Event()).wait()
        return await super()._agenerate(messages, *args, **kwargs)

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> Any:
        await GATES.setdefault(messages[-1].text, asyncio.Event()).wait()
        async for chunk in super()._astream(messages, *args, **kwargs):
            yield chunk


supervisor = create_deep_agent(
    model=ScriptedChatModel(script=lead),
    subagents=[{"name": "researcher", "description": "finds out", "graph_id": "researcher"}],
)
researcher = create_deep_agent(model=WaitingModel(script=lambda history: AIMessage(f"found {history[-1].text}")))

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> Auth.types.MinimalUserDict:
    if not (name := headers.get(b"x-user", b"").decode()):
        raise Auth.exceptions.HTTPException(401, "say who you are")
    return {"identity": name}


@auth.on
async def owned(ctx: Auth.types.AuthContext, value: Any) -> Any:
    value.setdefault("metadata", {})["owner"] = ctx.user.identity
    return {"owner": ctx.user.identity}


@auth.on.assistants
async def everybodys(ctx: Auth.types.AuthContext, value: Any) -> bool:
    return True
