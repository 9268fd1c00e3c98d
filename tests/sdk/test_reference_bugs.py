"""Errors of the reference server, one test each in which Runstead behaves correctly; through unmodified clients."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import httpx
import pytest
from langgraph_sdk import get_client

HI = {"messages": [{"role": "human", "content": "one two three four five six seven"}]}
ALL_MODES = ["values", "updates", "messages-tuple", "tasks", "checkpoints", "custom"]


@pytest.fixture
def sdk(url: str) -> Any:
    return get_client(url=url, api_key=None)


async def thread_of(client: Any, graph: str = "agent", runs: int = 1) -> str:
    """A thread with a history."""
    thread_id: str = (await client.threads.create())["thread_id"]
    for _ in range(runs):
        await client.runs.wait(thread_id, graph, input=HI)
    return thread_id


async def test_event_ids_never_repeat_and_a_resume_from_each_loses_nothing(client: Any) -> None:
    """Reference: ids contain only the millisecond, so that a replay after an id skips events of the same
    millisecond.
    """
    thread_id = await thread_of(client, runs=0)
    stream = client.runs.stream(
        thread_id, "nested", input=HI, stream_mode=ALL_MODES, stream_subgraphs=True, stream_resumable=True
    )
    parts = [part async for part in stream]
    ids = [part.id for part in parts]
    assert len(ids) > 15
    assert len(set(ids)) == len(ids)
    assert ids == sorted(ids, key=lambda event_id: [int(number) for number in event_id.split("-")])
    run_id = (await client.runs.list(thread_id))[0]["run_id"]
    for place in range(0, len(ids), 4):
        again = client.runs.join_stream(thread_id, run_id, last_event_id=ids[place])
        assert [part.id async for part in again] == ids[place + 1 :]


async def test_threads_are_searched_by_their_values(client: Any) -> None:
    """Reference: a 500 that is not even JSON, and the connection is closed."""
    thread_id = await thread_of(client, "hitl")
    mark = str(uuid4())
    await client.threads.update_state(thread_id, {"answer": mark}, as_node="ask")
    found = await client.threads.search(values={"answer": mark})
    assert [thread["thread_id"] for thread in found] == [thread_id]


@pytest.mark.parametrize("form", ["id", "checkpoint", "config"])
async def test_history_accepts_every_form_of_before(client: Any, form: str) -> None:
    """Reference: a 422 for an id, a 500 for a checkpoint."""
    thread_id = await thread_of(client, runs=2)
    states = await client.threads.get_history(thread_id, limit=100)
    middle = states[2]["checkpoint"]
    before: Any = {
        "id": middle["checkpoint_id"],
        "checkpoint": middle,
        "config": {"configurable": {"checkpoint_id": middle["checkpoint_id"]}},
    }[form]
    found = await client.threads.get_history(thread_id, limit=100, before=before)
    assert [state["checkpoint_id"] for state in found] == [state["checkpoint_id"] for state in states[3:]]


async def test_state_is_limited_to_the_selected_fields(client: Any) -> None:
    """Reference: ``select`` is ignored."""
    thread_id = await thread_of(client)
    state = await client.threads.get_state(thread_id, select=["next", "checkpoint_id"])
    assert set(state) == {"next", "checkpoint_id"}


async def test_thread_can_be_pruned_to_its_latest_state(client: Any) -> None:
    """Reference: a 422 if threads are kept in memory."""
    thread_id = await thread_of(client, runs=2)
    before = await client.threads.get_state(thread_id)
    assert await client.threads.prune([thread_id], strategy="keep_latest") == {"pruned_count": 1}
    assert len(await client.threads.get_history(thread_id, limit=100)) == 1
    assert (await client.threads.get_state(thread_id))["values"] == before["values"]


async def test_location_of_a_stateless_stream_is_valid(url: str) -> None:
    """Reference: the location in the header is a 404, so no client can resume."""
    async with httpx.AsyncClient(base_url=url) as http:
        body = {"assistant_id": "slow", "input": {"steps": 4, "delay": 0.1}, "stream_resumable": True}
        async with http.stream("POST", "/runs/stream", json=body) as stream:
            place = stream.headers["location"]
            async for line in stream.aiter_lines():
                if line.startswith("id: "):
                    break
        # Disconnected in mid-stream; the named location has the rest.
        rest = await http.get(place, headers={"last-event-id": line.removeprefix("id: ")})
    assert rest.status_code == 200
    assert '"done":4' in rest.text


@pytest.mark.parametrize("what", ["join", "stream"])
async def test_run_that_does_not_exist_is_a_404(sdk: Any, url: str, what: str) -> None:
    """Reference: a 200 with the text of an error in it."""
    thread_id = await thread_of(sdk, runs=0)
    async with httpx.AsyncClient(base_url=url) as http:
        answer = await http.get(f"/threads/{thread_id}/runs/{uuid4()}/{what}")
    assert answer.status_code == 404
    assert "not found" in answer.json()["detail"]


async def test_older_version_of_an_assistant_is_restored_completely(client: Any) -> None:
    """Reference: the context of the newer version stays."""
    made = await client.assistants.create("ctx", context={"color": "red"}, name="first")
    assistant_id = made["assistant_id"]
    await client.assistants.update(assistant_id, context={"color": "blue"}, name="second")
    await client.assistants.set_latest(assistant_id, 1)
    assistant = await client.assistants.get(assistant_id)
    assert (assistant["context"], assistant["name"], assistant["version"]) == ({"color": "red"}, "first", 1)
    seen = await client.runs.wait(None, assistant_id, input={})
    assert seen["seen"]["context"] == {"color": "red"}


async def test_interrupt_value_is_sent_under_both_names(sdk: Any, url: str) -> None:
    """Reference: ``payload`` only, while langgraph_sdk reads ``value``."""
    async with asyncio.timeout(60), sdk.threads.stream(assistant_id="hitl", transport="sse") as thread:
        await thread.run.start(input={})
        async for event in thread.subscribe(["input"]):
            data = event["params"]["data"]
            assert data["payload"] == data["value"] == {"question": "approve?"}
            break
        while not thread.interrupted:  # noqa: ASYNC110 - the client says it in a field, a moment after the event
            await asyncio.sleep(0.01)
        assert [asked["value"] for asked in thread.interrupts] == [{"question": "approve?"}]


@pytest.mark.parametrize(
    ("channel", "graph"),
    [("updates", "agent"), ("tasks", "agent"), ("checkpoints", "agent"), ("custom", "nested"), ("tools", "tools")],
)
async def test_every_channel_of_a_thread_has_events(sdk: Any, channel: str, graph: str) -> None:
    """Reference: these channels never have events."""
    async with asyncio.timeout(60), sdk.threads.stream(assistant_id=graph, transport="sse") as thread:
        await thread.run.start(input=HI)
        async for event in thread.subscribe([channel]):
            assert event["method"] == channel
            break


async def test_checkpoint_events_do_not_expose_the_user(client: Any) -> None:
    """Reference: the whole configurable, including the authenticated user."""
    thread_id = await thread_of(client, runs=0)
    stream = client.runs.stream(thread_id, "agent", input=HI, stream_mode=["checkpoints", "debug", "tasks"])
    told = json.dumps([part.data async for part in stream])
    assert '"checkpoint_id"' in told
    assert "langgraph_auth" not in told
    assert "__" not in told.replace("__start__", "").replace("__end__", "").replace("__pregel_pull", "")


async def test_run_starts_immediately(sdk: Any) -> None:
    """Reference: half a second to a second passes. The benchmark has Runstead's figure."""
    thread_id = await thread_of(sdk)
    waits = []
    for _ in range(5):
        began = asyncio.get_running_loop().time()
        async with aclosing(sdk.runs.stream(thread_id, "agent", input=HI)) as stream:
            async for part in stream:
                if part.event == "values":
                    break
        waits.append(asyncio.get_running_loop().time() - began)
    assert min(waits) < 0.3
