"""Runs, with every method that the Python SDK has for them."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import ConflictError, NotFoundError, UnprocessableEntityError

HELLO = {"messages": [{"role": "human", "content": "hi there"}]}
SLOW = {"steps": 200, "delay": 0.05}


async def collect(parts: Any) -> list[Any]:
    return [part async for part in parts]


async def a_thread(client: Any) -> str:
    thread_id: str = (await client.threads.create())["thread_id"]
    return thread_id


def texts(values: Any) -> list[str]:
    return [message["content"] for message in values["messages"]]


async def test_run_is_streamed(client: Any) -> None:
    thread_id = await a_thread(client)
    told: list[Any] = []
    parts = await collect(
        client.runs.stream(
            thread_id, "agent", input=HELLO, stream_mode=["values", "messages-tuple"], on_run_created=told.append
        )
    )
    assert [part.event for part in parts] == ["metadata", "values", *["messages"] * 5, "values"]
    assert "".join(part.data[0]["content"] for part in parts if part.event == "messages") == "echo: hi there"
    assert texts(parts[-1].data) == ["hi there", "echo: hi there"]
    assert told[0]["run_id"] == parts[0].data["run_id"]
    assert told[0]["thread_id"] == thread_id


async def test_run_without_a_thread_is_streamed_and_leaves_no_thread(client: Any) -> None:
    parts = await collect(client.runs.stream(None, "agent", input=HELLO))
    assert texts(parts[-1].data) == ["hi there", "echo: hi there"]
    run_id = parts[0].data["run_id"]
    run = await client.http.get(f"/runs/{run_id}")
    assert run["status"] == "success"
    with pytest.raises(NotFoundError):
        await client.threads.get(run["thread_id"])


async def test_frames_in_the_v2_form_of_the_client(client: Any) -> None:
    thread_id = await a_thread(client)
    parts = await collect(client.runs.stream(thread_id, "hitl", input=HELLO, stream_mode="values", version="v2"))
    assert parts[-1]["type"] == "values"
    assert parts[-1]["interrupts"][0]["value"] == {"question": "approve?"}


async def test_subgraph_events_carry_their_namespace(client: Any) -> None:
    thread_id = await a_thread(client)
    parts = await collect(
        client.runs.stream(thread_id, "nested", input=HELLO, stream_mode=["custom", "updates"], stream_subgraphs=True)
    )
    names = [part.event.partition(":")[0] for part in parts]
    assert names == ["metadata", "custom", "updates", "custom|child", "updates|child", "updates"]


async def test_error_ends_the_stream(client: Any) -> None:
    parts = await collect(client.runs.stream(None, "fail", input=HELLO))
    assert (parts[-1].event, parts[-1].data) == ("error", {"error": "ValueError", "message": "boom"})


async def test_run_is_waited_for(client: Any) -> None:
    thread_id = await a_thread(client)
    assert texts(await client.runs.wait(thread_id, "agent", input=HELLO)) == ["hi there", "echo: hi there"]
    assert (await client.runs.wait(None, "fanout", input={}))["log"] == ["plan", "work 0", "work 1", "work 2"]


async def test_waiting_for_a_failure_raises_it(client: Any) -> None:
    with pytest.raises(Exception, match="ValueError: boom"):
        await client.runs.wait(None, "fail", input=HELLO)
    answer = await client.runs.wait(None, "fail", input=HELLO, raise_error=False)
    assert answer == {"__error__": {"error": "ValueError", "message": "boom"}}


async def test_wait_sends_keep_alive_newlines(url: str) -> None:
    """Newlines while the run continues; JSON allows them before its value."""
    async with httpx.AsyncClient(base_url=url) as http:
        body = {"assistant_id": "slow", "input": {"steps": 1, "delay": 1}}
        answer = await http.post("/runs/wait", json=body)
    assert answer.text.startswith("\n\n")
    assert answer.json()["done"] == 1


async def test_run_in_the_background(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "agent", input=HELLO, metadata={"a": 1})
    assert (run["status"], run["multitask_strategy"], run["metadata"]["a"]) == ("pending", "enqueue", 1)
    assert texts(await client.runs.join(thread_id, run["run_id"])) == ["hi there", "echo: hi there"]
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "success"
    assert [one["run_id"] for one in await client.runs.list(thread_id)] == [run["run_id"]]
    # Joining an ended run answers immediately, any number of times.
    assert texts(await client.runs.join(thread_id, run["run_id"])) == ["hi there", "echo: hi there"]


async def test_runs_are_listed_by_status_and_field(client: Any) -> None:
    thread_id = await a_thread(client)
    for graph in ("agent", "fail", "agent"):
        await client.runs.wait(thread_id, graph, input=HELLO, raise_error=False)
    assert len(await client.runs.list(thread_id, status="success")) == 2
    assert len(await client.runs.list(thread_id, status="error")) == 1
    assert await client.runs.list(thread_id, status="pending") == []
    newest = await client.runs.list(thread_id, limit=1)
    assert len(newest) == 1
    assert [list(run) for run in await client.runs.list(thread_id, select=["run_id", "status"])] == [
        ["run_id", "status"]
    ] * 3
    assert (await client.runs.list(thread_id, limit=1, offset=1))[0]["run_id"] != newest[0]["run_id"]


async def test_batch_of_runs(client: Any) -> None:
    runs = await client.runs.create_batch([{"assistant_id": "agent", "input": HELLO}] * 3)
    assert len({run["run_id"] for run in runs}) == 3
    for run in runs:
        assert texts(await client.runs.join(run["thread_id"], run["run_id"])) == ["hi there", "echo: hi there"]


async def test_batch_is_all_or_nothing(client: Any) -> None:
    with pytest.raises(UnprocessableEntityError):
        await client.runs.create_batch([{"assistant_id": "agent"}, {"assistant_id": "nope"}])


async def test_run_is_joined_live_and_from_any_id(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(
        thread_id, "slow", input={"steps": 6, "delay": 0.1}, stream_mode=["values", "custom"], stream_resumable=True
    )
    place = (thread_id, run["run_id"])
    everything = await collect(client.runs.join_stream(*place, last_event_id="-1"))
    ids = [part.id for part in everything]
    assert len(set(ids)) == len(ids) == 1 + 7 + 6
    for number in (0, 3, len(ids) - 1):
        again = await collect(client.runs.join_stream(*place, last_event_id=ids[number]))
        assert [(part.id, part.data) for part in again] == [(part.id, part.data) for part in everything[number + 1 :]]
    # Without an event id, an ended run streams nothing more.
    assert await collect(client.runs.join_stream(*place)) == []
    ticks = await collect(client.runs.join_stream(*place, stream_mode="custom", last_event_id="-1"))
    assert [part.event for part in ticks] == ["metadata", *["custom"] * 6]


@pytest.mark.parametrize("mode", ["messages", "messages-tuple"])
async def test_both_kinds_of_messages_can_be_chosen_by_their_mode(client: Any, mode: str) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(
        thread_id, "agent", input=HELLO, stream_mode=["values", "messages", "messages-tuple"]
    )
    await client.runs.join(thread_id, run["run_id"])
    parts = await collect(client.runs.join_stream(thread_id, run["run_id"], stream_mode=mode, last_event_id="-1"))
    shown = {part.event for part in parts} - {"metadata"}
    assert shown == ({"messages"} if mode == "messages-tuple" else {"messages/metadata", "messages/partial"})


async def test_run_is_cancelled_and_its_steps_are_kept(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=2)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"
    thread = await client.threads.get(thread_id)
    assert thread["status"] == "interrupted"
    assert (await client.threads.get_state(thread_id))["next"] == ["tick"]
    assert thread["values"]["done"] >= 2
    with pytest.raises(NotFoundError, match="No matching runs to cancel"):
        await client.runs.cancel(thread_id, run["run_id"])


async def test_run_is_rolled_back_without_a_trace(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=2)
    await client.runs.cancel(thread_id, run["run_id"], wait=True, action="rollback")
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])
    thread = await client.threads.get(thread_id)
    assert (thread["status"], thread["values"]) == ("idle", None)
    assert (await client.threads.get_state(thread_id))["values"] == {}
    with pytest.raises(NotFoundError, match="No runs found to cancel"):
        await client.runs.cancel(thread_id, run["run_id"])


async def test_cancel_without_wait(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    await client.runs.cancel(thread_id, run["run_id"])
    await client.runs.join(thread_id, run["run_id"])
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "interrupted"


async def test_many_runs_are_cancelled_by_their_ids(client: Any) -> None:
    thread_id = await a_thread(client)
    runs = [(await client.runs.create(thread_id, "slow", input=SLOW))["run_id"] for _ in range(3)]
    await reached(client, thread_id, steps=1)
    # One of them twice, and one that does not exist.
    await client.runs.cancel_many(thread_id=thread_id, run_ids=[*runs, runs[0], str(uuid.uuid4())])
    for run_id in runs:
        await client.runs.join(thread_id, run_id)
    assert [run["status"] for run in await client.runs.list(thread_id)] == ["interrupted"] * 3
    done = (await client.threads.get_state(thread_id))["values"]["done"]
    assert 1 <= done < SLOW["steps"]
    with pytest.raises(NotFoundError, match="No matching runs to cancel"):
        await client.runs.cancel_many(thread_id=thread_id, run_ids=runs)
    with pytest.raises(NotFoundError, match="No runs found to cancel"):
        await client.runs.cancel_many(thread_id=await a_thread(client), run_ids=runs)


async def test_many_runs_are_rolled_back(client: Any) -> None:
    thread_id = await a_thread(client)
    await client.runs.wait(thread_id, "slow", input={"steps": 1, "delay": 0.01})
    runs = [(await client.runs.create(thread_id, "slow", input=SLOW))["run_id"] for _ in range(2)]
    await reached(client, thread_id, steps=2)
    await client.runs.cancel_many(thread_id=thread_id, run_ids=runs, action="rollback")
    for _ in range(200):
        if len(await client.runs.list(thread_id)) == 1:
            break
        await asyncio.sleep(0.05)
    assert [run["status"] for run in await client.runs.list(thread_id)] == ["success"]
    assert (await client.threads.get_state(thread_id))["values"]["done"] == 1


async def test_cancel_without_a_selection_is_refused(client: Any) -> None:
    thread_id = await a_thread(client)
    for wrong in (
        {},
        {"thread_id": thread_id},
        {"run_ids": [thread_id]},
        {"thread_id": thread_id, "run_ids": ["x"]},
        {"thread_id": thread_id, "run_ids": [thread_id], "status": "all"},
        {"status": "bogus"},
    ):
        with pytest.raises(UnprocessableEntityError):
            await client.runs.cancel_many(**wrong)


async def test_run_pages_have_pagination_headers(client: Any, url: str) -> None:
    thread_id = await a_thread(client)
    for _ in range(3):
        await client.runs.wait(thread_id, "agent", input=HELLO)
    await client.runs.wait(thread_id, "fail", input=HELLO, raise_error=False)
    async with httpx.AsyncClient(base_url=url) as http:
        for query, total, after in (
            ("limit=3", "4", "3"),
            ("limit=3&offset=3", "4", None),
            ("limit=2&status=success&select=run_id&select=status", "3", "2"),
            ("limit=2&status=success&offset=2", "3", None),
            ("offset=9", "4", None),
            ("status=pending", "0", None),
        ):
            page = await http.get(f"/threads/{thread_id}/runs?{query}")
            assert (page.headers["x-pagination-total"], page.headers.get("x-pagination-next")) == (total, after), query
        assert int((await http.get("/runs?limit=1")).headers["x-pagination-total"]) >= 4


@pytest.mark.parametrize("on_completion", ["delete", "keep"])
async def test_location_headers_of_a_stateless_run_are_valid(url: str, on_completion: str) -> None:
    body = {"assistant_id": "agent", "input": HELLO, "on_completion": on_completion, "stream_resumable": True}
    async with httpx.AsyncClient(base_url=url) as http:
        for route in ("/runs", "/runs/stream", "/runs/wait"):
            told = (await http.post(route, json=body)).headers
            run_id = (await http.get(told["content-location"])).json()["run_id"]
            assert run_id in told["content-location"]
            if (place := told.get("location")) is not None:
                again = await http.get(place, headers={"Last-Event-ID": "-1"})
                assert again.status_code == 200
                assert "echo: hi there" in again.text
            assert texts((await http.get(f"/runs/{run_id}/join")).json())[-1] == "echo: hi there"


async def test_reader_of_a_cancelled_run_sees_its_stream_close(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    reading = asyncio.create_task(collect(client.runs.join_stream(thread_id, run["run_id"])))
    await reached(client, thread_id, steps=2)
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    # Values, and metadata if the reader connected before the run started; neither an end nor an error.
    assert {part.event for part in await reading} - {"metadata"} == {"values"}


async def test_run_is_deleted_also_while_it_runs(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=1)
    await client.runs.delete(thread_id, run["run_id"])
    with pytest.raises(NotFoundError):
        await client.runs.get(thread_id, run["run_id"])
    assert texts(await client.runs.wait(thread_id, "agent", input=HELLO))[-1] == "echo: hi there"


class TestDoubleTexts:
    """A second run is created while the first one runs."""

    async def test_reject_refuses_a_second_run(self, client: Any) -> None:
        thread_id = await self.busy(client)
        with pytest.raises(ConflictError, match="Thread is already running a task"):
            await client.runs.create(thread_id, "slow", input={"steps": 1}, multitask_strategy="reject")
        assert len(await client.runs.list(thread_id)) == 1

    async def test_enqueue_runs_the_second_after_the_first(self, client: Any) -> None:
        thread_id = await a_thread(client)
        first = await client.runs.create(thread_id, "slow", input={"steps": 4, "delay": 0.05})
        values = await client.runs.wait(thread_id, "slow", input={"steps": 1, "log": ["second"]})
        assert values["log"] == ["tick 1", "tick 2", "tick 3", "tick 4", "second", "tick 5"]
        assert (await client.runs.get(thread_id, first["run_id"]))["status"] == "success"

    async def test_interrupt_replaces_the_first_run_and_keeps_its_steps(self, client: Any) -> None:
        thread_id = await self.busy(client)
        values = await client.runs.wait(
            thread_id, "slow", input={"steps": 1, "delay": 0.01, "log": ["second"]}, multitask_strategy="interrupt"
        )
        assert values["log"][0] == "tick 1"
        assert values["log"][-2:] == ["second", f"tick {values['done']}"]
        assert [run["status"] for run in await client.runs.list(thread_id)] == ["success", "interrupted"]

    async def test_rollback_replaces_the_first_run_and_undoes_it(self, client: Any) -> None:
        thread_id = await self.busy(client)
        values = await client.runs.wait(
            thread_id, "slow", input={"steps": 1, "delay": 0.01, "log": ["second"]}, multitask_strategy="rollback"
        )
        assert values["log"] == ["second", "tick 1"]
        assert [run["status"] for run in await client.runs.list(thread_id)] == ["success"]

    async def busy(self, client: Any) -> str:
        thread_id = await a_thread(client)
        await client.runs.create(thread_id, "slow", input=SLOW)
        await reached(client, thread_id, steps=1)
        return thread_id


class TestHumans:
    """The graph interrupts, a human answers."""

    async def test_interrupt_is_resumed(self, client: Any) -> None:
        thread_id = await a_thread(client)
        asked = await client.runs.wait(thread_id, "hitl", input=HELLO)
        assert asked["__interrupt__"][0]["value"] == {"question": "approve?"}
        thread = await client.threads.get(thread_id)
        assert thread["status"] == "interrupted"
        assert [one["value"] for pending in thread["interrupts"].values() for one in pending] == [
            {"question": "approve?"}
        ]
        done = await client.runs.wait(thread_id, "hitl", command={"resume": "yes"})
        assert done["answer"] == "yes"
        assert (await client.threads.get(thread_id))["status"] == "idle"

    async def test_two_interrupts_are_resumed_by_their_ids(self, client: Any) -> None:
        thread_id = await a_thread(client)
        asked = await client.runs.wait(thread_id, "multi", input={})
        answers = {one["id"]: one["value"].upper() for one in asked["__interrupt__"]}
        assert len(answers) == 2
        done = await client.runs.wait(thread_id, "multi", command={"resume": answers})
        assert done["answers"] == ["a=A?", "b=B?"]

    async def test_breakpoint_stops_and_null_input_continues(self, client: Any) -> None:
        thread_id = await a_thread(client)
        await client.runs.wait(thread_id, "tools", input=HELLO, interrupt_before=["tools"])
        assert (await client.threads.get_state(thread_id))["next"] == ["tools"]
        assert texts(await client.runs.wait(thread_id, "tools", input=None))[-1] == "sum is 5"

    async def test_command_jumps_to_a_node_and_updates(self, client: Any) -> None:
        thread_id = await a_thread(client)
        await client.runs.wait(thread_id, "hitl", input=HELLO)
        done = await client.runs.wait(thread_id, "hitl", command={"goto": "finish", "update": {"answer": "skipped"}})
        assert texts(done)[-1] == "answer=skipped"


async def test_run_from_an_earlier_checkpoint(client: Any) -> None:
    thread_id = await a_thread(client)
    await client.runs.wait(thread_id, "agent", input=HELLO)
    (before_model,) = [state for state in await client.threads.get_history(thread_id) if state["next"] == ["model"]]
    branch = {"messages": [{"role": "human", "content": "branch"}]}
    values = await client.runs.wait(thread_id, "agent", input=branch, checkpoint=before_model["checkpoint"])
    assert texts(values) == ["hi there", "branch", "echo: branch"]
    values = await client.runs.wait(thread_id, "agent", input=branch, checkpoint_id=before_model["checkpoint_id"])
    assert texts(values) == ["hi there", "branch", "echo: branch"]


async def test_unknown_checkpoint_is_refused(client: Any) -> None:
    thread_id = await a_thread(client)
    with pytest.raises(NotFoundError, match="Checkpoint"):
        await client.runs.create(thread_id, "agent", input=HELLO, checkpoint_id=str(uuid.uuid4()))


async def test_delayed_run(client: Any) -> None:
    thread_id = await a_thread(client)
    run = await client.runs.create(thread_id, "agent", input=HELLO, after_seconds=1)
    assert (await client.runs.get(thread_id, run["run_id"]))["status"] == "pending"
    assert (await client.threads.get(thread_id))["status"] == "busy"
    assert texts(await client.runs.join(thread_id, run["run_id"]))[-1] == "echo: hi there"


async def test_config_and_context_reach_the_run(client: Any) -> None:
    values = await client.runs.wait(None, "ctx", input={}, context={"color": "green"}, metadata={"m": 1})
    assert values["seen"]["context"] == {"color": "green"}
    assert values["seen"]["configurable"]["color"] == "green"
    assert values["seen"]["metadata"]["m"] == 1
    values = await client.runs.wait(None, "ctx", input={}, config={"configurable": {"color": "teal"}, "tags": ["x"]})
    assert (values["seen"]["context"], values["seen"]["tags"]) == ({"color": "teal"}, ["x"])
    greeting = await client.runs.wait(None, "factory", input=HELLO, config={"configurable": {"greeting": "servus"}})
    assert texts(greeting)[-1] == "servus"


async def test_if_not_exists_create_creates_the_thread(client: Any) -> None:
    thread_id = str(uuid.uuid4())
    with pytest.raises(NotFoundError, match="Thread or assistant not found"):
        await client.runs.create(thread_id, "agent", input=HELLO)
    await client.runs.wait(thread_id, "agent", input=HELLO, if_not_exists="create")
    assert (await client.threads.get(thread_id))["metadata"]["graph_id"] == "agent"


async def test_thread_that_was_kept_for_a_stateless_run(client: Any) -> None:
    run = await client.runs.create(None, "agent", input=HELLO, on_completion="keep")
    await client.runs.join(run["thread_id"], run["run_id"])
    assert texts((await client.threads.get(run["thread_id"]))["values"])[-1] == "echo: hi there"


async def test_disconnect_cancels_only_if_requested(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        ended = {}
        for on_disconnect in ("continue", "cancel"):
            thread_id = (await http.post("/threads", json={})).json()["thread_id"]
            body = {"assistant_id": "slow", "input": {"steps": 8, "delay": 0.1}, "on_disconnect": on_disconnect}
            async with http.stream("POST", f"/threads/{thread_id}/runs/stream", json=body) as stream:
                async for line in stream.aiter_lines():
                    if "tick 2" in line:
                        break
            (run,) = (await http.get(f"/threads/{thread_id}/runs")).json()
            await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
            ended[on_disconnect] = (await http.get(f"/threads/{thread_id}/runs/{run['run_id']}")).json()["status"]
    assert ended == {"continue": "success", "cancel": "interrupted"}


async def test_silent_or_filtered_stream_sends_heartbeats(url: str) -> None:
    async with httpx.AsyncClient(base_url=url) as http:
        thread_id = (await http.post("/threads", json={})).json()["thread_id"]
        body = {"assistant_id": "slow", "input": {"steps": 20, "delay": 0.1}, "stream_mode": ["values", "custom"]}
        run_id = (await http.post(f"/threads/{thread_id}/runs", json=body)).json()["run_id"]
        beats = await http.get(f"/threads/{thread_id}/runs/{run_id}/stream", params={"stream_mode": "updates"})
    assert beats.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert beats.text.count(": heartbeat\r\n\r\n") >= 3
    assert "event: values" not in beats.text


async def reached(client: Any, thread_id: str, *, steps: int) -> None:
    """Return when the slow graph has done this number of steps."""
    for _ in range(400):
        if (await client.threads.get_state(thread_id))["values"].get("done", 0) >= steps:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"{steps} steps were not done in time")
