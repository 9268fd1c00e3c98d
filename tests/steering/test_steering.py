"""Messages to runs that are going on, as clients see them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.processes.client import eventually

from .conftest import Server

STEER: Any = "steer"
"""A strategy that the SDK's types do not know."""


@pytest.mark.parametrize("graph", ["worker", "deep", "blocking", "waiting"])
async def test_messages_reach_the_run_before_its_next_model_call_in_order(server: Server, graph: str) -> None:
    work = await server.work(graph)
    sent = [await work.send(text) for text in ("first", "second")]
    assert [(one["status"], one["run_id"]) for one in sent] == [("waiting", work.run["run_id"])] * 2
    assert [one["messages"][0]["content"] for one in await work.messages()] == ["first", "second"]
    work.finish()
    assert await work.join() == f"heard {work.path} | first | second"
    assert await work.humans() == ["first", "second"]
    shown = await work.messages()
    assert [(one["message_id"], one["status"], one["run_id"]) for one in shown] == [
        (one["message_id"], "delivered", work.run["run_id"]) for one in sent
    ]
    assert all(one["messages"] == [] and one["ended_at"] for one in shown)
    assert await work.messages(only_waiting=True) == []
    assert len(await server.sdk.runs.list(work.thread)) == 1


@pytest.mark.parametrize("graph", ["twice", "twice_blocking"])
async def test_each_execution_of_a_node_gets_a_message_once(server: Server, graph: str) -> None:
    work = await server.work(graph)
    for text in ("first", "second"):
        await work.send(text)
    work.finish()
    assert await work.join() == f"heard {work.path} | first | second"
    assert await work.humans() == ["first", "second"]


async def test_withdrawn_message_reaches_no_run(server: Server) -> None:
    work = await server.work()
    first, second = await work.send("first"), await work.send("second")
    for _ in range(2):
        withdrawn = await work.withdraw(first["message_id"])
        assert (withdrawn.status_code, withdrawn.json()["status"]) == (200, "withdrawn")
    assert (await work.withdraw("unknown")).status_code == 404
    work.finish()
    await work.join()
    assert await work.humans() == ["second"]
    late = await work.withdraw(second["message_id"])
    assert late.status_code == 409
    assert "was delivered to run" in late.json()["detail"]
    assert len(await server.sdk.runs.list(work.thread)) == 1


async def test_message_that_the_agent_does_not_take_starts_the_next_run(server: Server) -> None:
    work = await server.work("without")
    sent = [await work.send("first"), await work.send("second")]
    work.finish()
    await work.join()
    await idle(server, work.thread)
    runs = list(reversed(await server.sdk.runs.list(work.thread)))
    assert [run["status"] for run in runs] == ["success"] * 3
    assert await work.humans() == ["first", "second"]
    shown = await work.messages()
    assert [(one["status"], one["run_id"]) for one in shown] == [("moved", run["run_id"]) for run in runs[1:]]
    assert [one["message_id"] for one in shown] == [one["message_id"] for one in sent]


async def test_next_run_takes_the_messages_after_its_own(server: Server) -> None:
    work = await server.work("worker")
    for text in ("first", "second", "third"):
        await work.send(text)
    # The run ends before another model call.
    await server.sdk.runs.cancel(work.thread, work.run["run_id"], wait=False)
    work.finish()
    await idle(server, work.thread)
    assert await work.said() == f"heard {work.path} | first | second | third"
    assert [one["status"] for one in await work.messages()] == ["moved", "delivered", "delivered"]
    assert len(await server.sdk.runs.list(work.thread)) == 2


async def test_message_to_an_ended_run_starts_one(server: Server) -> None:
    work = await server.work()
    work.finish()
    await work.join()
    sent = await work.send("late")
    assert (sent["status"], sent["message_id"]) == ("moved", None)
    assert await work.join(sent["run_id"]) == f"heard {work.path} | late"


async def test_run_creation_with_the_strategy_steer_sends_to_the_run_in_flight(server: Server) -> None:
    work = await server.work()
    said: Any = {"messages": [{"role": "user", "content": "by creation"}]}
    steered: Any = await server.sdk.runs.create(work.thread, "worker", input=said, multitask_strategy=STEER)
    assert steered["run_id"] == work.run["run_id"]
    assert [one["message_id"] for one in await work.messages()] == [steered["message_id"]]
    waiting = asyncio.create_task(server.sdk.runs.wait(work.thread, "worker", input=said, multitask_strategy=STEER))

    async def both_wait() -> bool:
        return len(await work.messages()) == 2

    await eventually(both_wait)
    work.finish()
    result: Any = await waiting
    assert result["messages"][-1]["content"] == f"heard {work.path} | by creation | by creation"
    # Nothing is in flight any more.
    events = [
        part.event
        async for part in server.sdk.runs.stream(
            work.thread,
            "worker",
            input=said,
            multitask_strategy=STEER,
            stream_mode="values",
        )
    ]
    assert events[:2] == ["metadata", "values"]
    assert len(await server.sdk.runs.list(work.thread)) == 2


async def test_waiting_returns_the_result_of_the_run_that_got_the_message(
    server: Server,
) -> None:
    work = await server.work("without")
    said: Any = {"messages": [{"role": "user", "content": "later"}]}
    waiting = asyncio.create_task(server.sdk.runs.wait(work.thread, "without", input=said, multitask_strategy=STEER))

    async def waits() -> bool:
        return bool(await work.messages())

    await eventually(waits)
    work.finish()
    result: Any = await waiting
    assert result["messages"][-1]["content"] == f"heard {work.path} | later"


@pytest.mark.parametrize(("graph", "event"), [("worker", "delivered"), ("without", "moved")])
async def test_stream_of_the_run_reports_what_happened_to_a_message(server: Server, graph: str, event: str) -> None:
    work = await server.work(graph, stream_resumable=True)
    events: Any = asyncio.Queue()

    async def listen() -> None:
        stream = server.sdk.runs.join_stream(work.thread, work.run["run_id"], last_event_id="-1")
        async for part in stream:
            if part.event == "steering":
                events.put_nowait(part.data)

    listening = asyncio.create_task(listen())
    first = await work.send("never")
    assert await events.get() == {"event": "accepted", "message_id": first["message_id"], "run_id": first["run_id"]}
    await work.withdraw(first["message_id"])
    assert await events.get() == {"event": "withdrawn", "message_id": first["message_id"], "run_id": first["run_id"]}
    sent = await work.send("hello")
    assert (await events.get())["event"] == "accepted"
    work.finish()
    await listening
    _, shown = await work.messages()
    told = events.get_nowait()
    assert told == {"event": event, "message_id": sent["message_id"], "run_id": shown["run_id"]}
    assert (shown["status"], shown["run_id"] == work.run["run_id"]) == (event, event == "delivered")
    assert events.empty()


@pytest.mark.parametrize(("graph", "delivery"), [("deep", "next_model_call"), ("without", "unknown")])
async def test_command_sends_a_message_and_says_when_it_arrives(server: Server, graph: str, delivery: str) -> None:
    work = await server.work(graph)
    message = {"message": {"role": "user", "content": "by command"}}
    start = {"assistant_id": graph, "input": {"messages": ["by start"]}, "multitaskStrategy": "steer"}
    for number, (method, params) in enumerate((("input.inject", message), ("run.start", start))):
        command = {"id": number, "method": method, "params": params}
        response = await server.http.post(f"/threads/{work.thread}/commands", json=command)
        result = response.json()["result"]
        assert (result["status"], result["run_id"]) == ("waiting", work.run["run_id"])
        assert result["delivery"] == delivery
        assert ("has no SteeringMiddleware" in response.headers.get("runstead-remark", "")) is (delivery == "unknown")
    work.finish()
    await idle(server, work.thread)
    assert await work.humans() == ["by command", "by start"]


async def test_message_waits_for_the_answer_to_a_question(server: Server) -> None:
    work = await server.work("asking")
    await work.send("before")
    work.finish()
    await server.sdk.runs.join(work.thread, work.run["run_id"])
    assert (await server.sdk.threads.get(work.thread))["status"] == "interrupted"
    # The graph takes messages after its question.
    assert (await work.messages())[0]["status"] == "waiting"
    refused = await work.send("meanwhile", status=409)
    assert "answer it first" in refused["detail"]
    result: Any = await server.sdk.runs.wait(work.thread, "asking", command={"resume": "yes"})
    assert result["messages"][-1]["content"] == f"heard {work.path} | before"
    assert (await work.messages())[0]["status"] == "delivered"


async def test_message_taken_by_a_step_that_failed_is_delivered_to_the_next_run(server: Server) -> None:
    work = await server.work("failing")
    sent = await work.send("once")
    work.finish()
    await server.sdk.runs.join(work.thread, work.run["run_id"])
    await idle(server, work.thread)
    assert await work.humans() == ["once"]
    assert (await work.messages())[0]["message_id"] == sent["message_id"]


async def idle(server: Server, thread: str) -> None:
    """Wait until no run of the thread is in flight and no message waits."""

    async def is_idle() -> bool:
        waiting = (await server.http.get(f"/threads/{thread}/steering", params={"only_waiting": True})).json()
        return not waiting and (await server.sdk.threads.get(thread))["status"] != "busy"

    await eventually(is_idle)
