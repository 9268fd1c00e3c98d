"""A lead agent in the style of DeerFlow's: a factory that reads its context, middlewares that set the title and ask
back, subagents that report in custom events, and a long answer that a test can stop in the middle.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Sequence
from typing import Any, NotRequired

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.config import get_config, get_store, get_stream_writer
from langgraph.runtime import Runtime

from runstead.graphs.scripted import ScriptedChatModel

WORDS = 40
GATE, CRASH = ("gate",), ("crash",)
_PACE = 0.004


class ThreadState(AgentState[Any]):
    title: NotRequired[str]
    artifacts: NotRequired[list[str]]


def _asked(history: Sequence[BaseMessage]) -> str:
    return next(str(message.text) for message in reversed(history) if isinstance(message, HumanMessage))


def script(history: Sequence[BaseMessage]) -> AIMessage:
    asked, last = _asked(history), history[-1]
    if isinstance(last, ToolMessage):
        return AIMessage(f"The subagent says: {last.text}")
    if asked.startswith("research"):
        args = {"description": asked, "subagent_type": "general-purpose"}
        return AIMessage("", tool_calls=[{"name": "task", "args": args, "id": "call_task"}])
    if asked.startswith("unclear"):
        args = {"question": "Which one?"}
        return AIMessage("", tool_calls=[{"name": "ask_clarification", "args": args, "id": "call_ask"}])
    turn = sum(isinstance(message, HumanMessage) for message in history)
    return AIMessage(" ".join(f"w{number}" for number in range(1, WORDS + 1)) + f" end{turn}")


class LeadModel(ScriptedChatModel):
    """Stops in the middle of an answer to a message that begins with "slow"."""

    async def _astream(self, messages: list[BaseMessage], *given: Any, **options: Any) -> AsyncIterator[Any]:
        said = 0
        async for chunk in super()._astream(messages, *given, **options):
            yield chunk
            said += 1
            if said == WORDS // 2 and _asked(messages).startswith("slow"):
                await stop_in_the_middle()


@tool
async def task(description: str, subagent_type: str) -> str:
    """Delegate a task to a subagent."""
    tell = get_stream_writer()
    tell({"type": "task_started", "task_id": "call_task", "description": description})
    model = ScriptedChatModel(script=lambda history: AIMessage(f"found {_asked(history)}"), delay=_PACE)
    done = await create_agent(model, tools=[], name=subagent_type).ainvoke(
        {"messages": [HumanMessage(description)]}, {"tags": ["subagent:general-purpose"]}
    )
    answer = done["messages"][-1]
    tell({"type": "task_running", "task_id": "call_task", "message": answer.model_dump(mode="json")})
    tell({"type": "task_completed", "task_id": "call_task", "result": answer.text})
    return str(answer.text)


@tool(return_direct=True)
async def ask_clarification(question: str) -> str:
    """Ask the user, and end the turn: the answer comes as the next message."""
    return question


class Title(AgentMiddleware[Any, Any]):
    """Set the title of the thread after the first answer, as DeerFlow's does."""

    state_schema = ThreadState

    async def aafter_model(self, state: Any, runtime: Runtime[Any]) -> dict[str, Any] | None:
        if state.get("title"):
            return None
        return {"title": f"About {_asked(state['messages'])[:20]}"}


async def stop_in_the_middle() -> None:
    """Wait until a test lets the answer continue; or exit the process, in the first attempt, if a test wants that."""
    store, config = get_store(), get_config()
    thread_id, attempt = str(config["configurable"]["thread_id"]), config["metadata"]["run_attempt"]
    while await store.aget(GATE, thread_id) is None:
        if attempt == 1 and await store.aget(CRASH, thread_id) is not None:
            os.kill(os.getpid(), signal.SIGKILL)
        await asyncio.sleep(0.02)


def make_lead_agent(config: RunnableConfig) -> Any:
    """Build the agent for one run, from the context set by its client."""
    subagents = [task] if config.get("configurable", {}).get("subagent_enabled") else []
    return create_agent(
        LeadModel(script=script, delay=_PACE),
        tools=[*subagents, ask_clarification],
        middleware=[Title()],
        state_schema=ThreadState,
        name="lead_agent",
    )
