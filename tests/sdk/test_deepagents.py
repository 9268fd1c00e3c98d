"""The asynchronous subagents of deepagents, unmodified: a supervisor here, whose subagents are graphs of the
server.

The supervisor's model makes the requested tool call, and repeats the text of the tool result or notification.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest
from deepagents import create_deep_agent
from langchain_core.messages import AIMessage, BaseMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph_sdk import get_client

from runstead.graphs.scripted import ScriptedChatModel

from .flavours import Flavour, remote_of


def obeying(history: Sequence[BaseMessage]) -> AIMessage:
    # A notification may come after the request, before the request was processed.
    since = list(itertools.takewhile(lambda message: message.type == "human", reversed(history)))
    order = next((message.text for message in since if message.text.startswith("{")), None)
    if order is None:
        return AIMessage(history[-1].text)
    return AIMessage("", tool_calls=[{**json.loads(order), "id": f"call-{len(history)}"}])


class Supervisor:
    """A deep agent on its own thread, given one tool call after the other."""

    def __init__(self, flavour: Flavour, url: str, **subagent: Any) -> None:
        spec: Any = {"name": "researcher", "description": "finds out", "graph_id": "researcher", "url": url, **subagent}
        self.config: Any = {"configurable": {"thread_id": str(uuid4())}}
        agent = create_deep_agent(
            model=ScriptedChatModel(script=obeying), subagents=[spec], checkpointer=InMemorySaver()
        )
        self._agent = remote_of(flavour, agent)

    async def hears(self, text: str) -> list[BaseMessage]:
        """Return all messages on its thread, once it has answered."""
        output = await self._agent.invoke({"messages": [{"role": "user", "content": text}]}, self.config)
        messages: list[BaseMessage] = output["messages"]
        return messages

    async def calls(self, tool: str, **arguments: Any) -> str:
        """Return the tool's result."""
        messages = await self.hears(json.dumps({"name": tool, "args": arguments}))
        return [message.text for message in messages if message.type == "tool"][-1]

    async def starts(self, description: str) -> str:
        """The id of the task."""
        told = await self.calls("start_async_task", description=description, subagent_type="researcher")
        found = re.search(r"[0-9a-f-]{36}", told)
        assert found, told
        return found[0]

    async def checks(self, task_id: str) -> dict[str, Any]:
        told = await self.calls("check_async_task", task_id=task_id)
        assert told.startswith("{"), told
        checked: dict[str, Any] = json.loads(told)
        return checked

    async def checks_until(self, task_id: str, *statuses: str) -> dict[str, Any]:
        for _ in range(300):
            if (checked := await self.checks(task_id))["status"] in statuses:
                return checked
            await asyncio.sleep(0.03)
        raise AssertionError(f"it stays {checked}")


@pytest.fixture
def supervisor(flavour: Flavour, crew: str) -> Supervisor:
    return Supervisor(flavour, crew)


async def test_task_is_started_and_its_answer_fetched(supervisor: Supervisor) -> None:
    task_id = await supervisor.starts("find the book")
    checked = await supervisor.checks_until(task_id, "success")
    assert checked == {"status": "success", "thread_id": task_id, "result": "1 asked: find the book"}


async def test_supervisor_is_notified_of_the_answer(crew: str) -> None:
    """In its asynchronous variant, it checks its tasks whenever it runs."""
    supervisor = Supervisor("async", crew)
    task_id = await supervisor.starts("find the book")
    client = get_client(url=crew, api_key=None)
    (run,) = await client.runs.list(task_id)
    await client.runs.join(task_id, run["run_id"])
    # It comes once: either with the answer to the start, or with this one.
    told = [message.text for message in await supervisor.hears("anything new?") if message.type == "human"]
    (notice,) = [text for text in told if "<status>success</status>" in text]
    assert f"<task-id>{task_id}</task-id>" in notice
    assert "1 asked: find the book" in notice


async def test_update_of_a_running_task_restarts_it(supervisor: Supervisor) -> None:
    task_id = await supervisor.starts("take long over it")
    assert (await supervisor.checks(task_id))["status"] in ("pending", "running")
    told = await supervisor.calls("update_async_task", task_id=task_id, message="just the title")
    assert told.startswith("Updated async subagent.")
    checked = await supervisor.checks_until(task_id, "success")
    assert checked["result"] == "2 asked: take long over it / just the title"


async def test_update_of_an_ended_task_starts_it_again(supervisor: Supervisor) -> None:
    task_id = await supervisor.starts("find the book")
    await supervisor.checks_until(task_id, "success")
    await supervisor.calls("update_async_task", task_id=task_id, message="and the author")
    checked = await supervisor.checks_until(task_id, "success")
    assert checked["result"] == "2 asked: find the book / and the author"


async def test_update_can_be_enqueued(flavour: Flavour, crew: str) -> None:
    supervisor = Supervisor(flavour, crew, update_strategy="enqueue")
    task_id = await supervisor.starts("take long over it")
    told = await supervisor.calls("update_async_task", task_id=task_id, message="just the title")
    assert told.startswith("Queued follow-up")
    assert (await supervisor.checks(task_id))["status"] == "pending"
    client = get_client(url=crew, api_key=None)
    runs = await client.runs.list(task_id)
    assert {run["multitask_strategy"] for run in runs} == {"enqueue"}
    # Cancelling the task cancels its pending and running runs.
    await supervisor.calls("cancel_async_task", task_id=task_id)
    for run in runs:
        await client.runs.join(task_id, run["run_id"])
    assert {run["status"] for run in await client.runs.list(task_id)} == {"interrupted"}


async def test_task_is_cancelled(supervisor: Supervisor, crew: str) -> None:
    task_id = await supervisor.starts("take long over it")
    assert "Cancelled" in await supervisor.calls("cancel_async_task", task_id=task_id)
    assert (await supervisor.checks_until(task_id, "cancelled"))["status"] == "cancelled"
    (run,) = await get_client(url=crew, api_key=None).runs.list(task_id)
    assert run["status"] == "interrupted"


async def test_tasks_are_listed_with_their_status(supervisor: Supervisor) -> None:
    assert await supervisor.calls("list_async_tasks") == "No async subagent tasks tracked."
    ended, busy = await supervisor.starts("find the book"), await supervisor.starts("take long over it")
    await supervisor.checks_until(ended, "success")
    await supervisor.checks_until(busy, "running")
    listed = (await supervisor.calls("list_async_tasks")).splitlines()
    assert listed[0] == "2 tracked task(s):"
    assert f"- task_id: {ended}  agent: researcher  status: success" in listed
    assert f"- task_id: {busy}  agent: researcher  status: running" in listed
    await supervisor.calls("cancel_async_task", task_id=busy)


async def test_interrupted_task_waits_for_a_human(supervisor: Supervisor, crew: str) -> None:
    task_id = await supervisor.starts("ask me")
    checked = await supervisor.checks_until(task_id, "waiting")
    assert [one["value"] for one in checked["interrupts"]] == ["which one?"]
    # The human answers on the task's own thread.
    await get_client(url=crew, api_key=None).runs.wait(task_id, "researcher", command={"resume": "that one"})
    assert (await supervisor.checks_until(task_id, "success"))["result"] == "you said that one"


async def test_failed_task_reports_its_error(supervisor: Supervisor) -> None:
    task_id = await supervisor.starts("fail")
    checked = await supervisor.checks_until(task_id, "error")
    assert "no such book" in checked["error"]


async def test_tasks_of_a_supervisor_are_found(supervisor: Supervisor, crew: str) -> None:
    task_id = await supervisor.starts("find the book")
    (thread,) = await get_client(url=crew, api_key=None).threads.search(
        metadata={"parent_thread_id": supervisor.config["configurable"]["thread_id"], "subagent_name": "researcher"}
    )
    assert thread["thread_id"] == task_id


async def test_unknown_subagent_is_reported(flavour: Flavour, crew: str) -> None:
    told = await Supervisor(flavour, crew, graph_id="unknown").calls(
        "start_async_task", description="find the book", subagent_type="researcher"
    )
    assert "Failed to launch async subagent 'researcher'" in told
    assert "Invalid assistant: 'unknown'" in told
