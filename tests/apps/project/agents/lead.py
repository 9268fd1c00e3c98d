"""A lead agent in the style of DeerFlow's: a factory, middlewares for thread data, title, clarification and memory,
and a tool that runs subagents and reports their progress.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, NotRequired

from langchain.agents import AgentState, create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain.tools import ToolRuntime
from langchain.tools.tool_node import ToolCallRequest
from langchain_core.messages import HumanMessage, SystemMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.config import get_config, get_store, get_stream_writer
from langgraph.graph import END
from langgraph.runtime import Runtime
from langgraph.types import Command

from agents.models import load_chat_model

TITLE = """Write a title for the conversation. <script>
say About {input}
</script>"""
SUBAGENT = """You are a subagent. Do what you are asked. <script>
call look_up {"topic": "{input}"}
say {tool}
</script>"""


def merge_artifacts(existing: list[str] | None, new: list[str] | None) -> list[str]:
    return list(dict.fromkeys([*(existing or []), *(new or [])]))


class ThreadState(AgentState[Any]):
    """State that DeerFlow keeps beside the messages."""

    title: NotRequired[str | None]
    thread_data: NotRequired[dict[str, str] | None]
    artifacts: Annotated[list[str], merge_artifacts]


class ThreadDataMiddleware(AgentMiddleware[ThreadState]):
    """Set the paths of the thread's files."""

    state_schema = ThreadState

    def before_agent(self, state: ThreadState, runtime: Runtime) -> dict[str, Any]:
        thread_id = get_config()["configurable"]["thread_id"]
        return {"thread_data": {"workspace_path": f"/threads/{thread_id}/workspace"}}


class TitleMiddleware(AgentMiddleware[ThreadState]):
    """Name the thread after its first exchange."""

    state_schema = ThreadState

    async def aafter_agent(self, state: ThreadState, runtime: Runtime) -> dict[str, Any] | None:
        if state.get("title"):
            return None
        asked = next(message for message in state["messages"] if isinstance(message, HumanMessage))
        words = asked.text.partition("<script>")[0].strip()
        said = await load_chat_model("openai/gpt-5-mini").ainvoke([SystemMessage(TITLE), HumanMessage(words)])
        return {"title": said.text}


class MemoryMiddleware(AgentMiddleware[ThreadState]):
    """Store the conversation after the agent has ended."""

    async def aafter_agent(self, state: ThreadState, runtime: Runtime) -> None:
        user = get_config()["configurable"]["langgraph_auth_user_id"]
        await get_store().aput(("facts", user), "last", {"content": state["messages"][-1].text})


class ClarificationMiddleware(AgentMiddleware[ThreadState]):
    """End the run with the question when the model asks one."""

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        if request.tool_call["name"] != "ask_clarification":
            return await handler(request)
        question = request.tool_call["args"]["question"]
        message = ToolMessage(question, tool_call_id=request.tool_call["id"], name="ask_clarification")
        return Command(update={"messages": [message]}, goto=END)


@tool(return_direct=True)
async def ask_clarification(question: str) -> str:
    """Ask the user to clarify."""
    return "The middleware answers."


@tool
async def present_file(path: str, tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Show a file to the user."""
    message = ToolMessage("shown", tool_call_id=tool_call_id)
    return Command(update={"artifacts": [path], "messages": [message]})


@tool
async def look_up(topic: str) -> str:
    """Look a topic up."""
    return f"all about {topic}"


@tool("task")
async def task_tool(description: str, prompt: str, runtime: ToolRuntime) -> str:
    """Delegate a task to a subagent, and report its progress."""
    write = get_stream_writer()
    subagent = create_agent(load_chat_model("openai/gpt-5-mini"), [look_up], system_prompt=SUBAGENT)
    said = {"task_id": runtime.tool_call_id, "description": description}
    write({"type": "task_started", **said})
    working = asyncio.create_task(subagent.ainvoke({"messages": [HumanMessage(prompt)]}, {"callbacks": []}))
    try:
        await asyncio.wait([working])
    finally:
        working.cancel()
    result = f"{working.result()['messages'][-1].text}"
    write({"type": "task_completed", **said, "result": result})
    return result


def make_lead_agent(config: RunnableConfig) -> Any:
    """Build the agent for the configuration of a run."""
    configurable = config.get("configurable", {})
    tools = [ask_clarification, present_file]
    if configurable.get("subagent_enabled", True):
        tools.append(task_tool)
    return create_agent(
        load_chat_model(configurable.get("model_name") or "openai/gpt-5"),
        tools,
        system_prompt="You are DeerFlow's little sister.",
        middleware=[ThreadDataMiddleware(), ClarificationMiddleware(), TitleMiddleware(), MemoryMiddleware()],
        state_schema=ThreadState,
    )
