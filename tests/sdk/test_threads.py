"""Threads, by the methods that the Python SDK has for them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

from .test_runs import HELLO, SLOW, reached, texts


async def test_a_thread_is_made_read_changed_and_forgotten(client: Any) -> None:
    thread_id = str(uuid.uuid4())
    thread = await client.threads.create(thread_id=thread_id, metadata={"owner": "x"}, graph_id="agent")
    assert (thread["thread_id"], thread["status"], thread["metadata"]["owner"]) == (thread_id, "idle", "x")
    assert (await client.threads.get(thread_id))["metadata"] == {"owner": "x", "graph_id": "agent"}
    changed = await client.threads.update(thread_id, metadata={"title": "hello"})
    assert changed["metadata"] == {"owner": "x", "graph_id": "agent", "title": "hello"}
    assert await client.threads.update(thread_id, metadata={"title": "hi"}, return_minimal=True) is None
    await client.threads.delete(thread_id)
    with pytest.raises(NotFoundError, match=f"Thread with ID {thread_id} not found"):
        await client.threads.get(thread_id)


async def test_a_thread_that_exists(client: Any) -> None:
    thread_id = (await client.threads.create(metadata={"a": 1}))["thread_id"]
    with pytest.raises(ConflictError, match="already exists"):
        await client.threads.create(thread_id=thread_id)
    same = await client.threads.create(thread_id=thread_id, if_exists="do_nothing", metadata={"a": 2})
    assert same["metadata"] == {"a": 1}


async def test_expiry_is_refused_rather_than_forgotten(client: Any) -> None:
    with pytest.raises(UnprocessableEntityError, match="ttl"):
        await client.threads.create(ttl=60)


async def test_a_thread_is_forgotten_while_it_works(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    waiting = await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=1)
    await client.threads.delete(thread_id)
    for gone in (run, waiting):
        with pytest.raises(NotFoundError):
            await client.runs.get(thread_id, gone["run_id"])
    await client.threads.create(thread_id=thread_id)
    assert (await client.threads.get_state(thread_id))["values"] == {}
    assert (await client.http.get(f"/threads/{thread_id}/messages"))["data"] == []


async def test_threads_are_found(client: Any) -> None:
    mark = str(uuid.uuid4())
    made = [(await client.threads.create(metadata={"mark": mark, "n": n}))["thread_id"] for n in range(5)]
    await client.runs.wait(made[0], "hitl", input=HELLO)
    await client.runs.wait(made[1], "slow", input={"steps": 1, "delay": 0.01})

    async def ids(**where: Any) -> list[str]:
        where = {"metadata": {"mark": mark}, "sort_by": "created_at", "sort_order": "asc", **where}
        return [thread["thread_id"] for thread in await client.threads.search(**where)]

    assert await ids() == made
    assert await ids(sort_order="desc") == made[::-1]
    assert await ids(limit=2, offset=1) == made[1:3]
    assert await ids(ids=[made[3], str(uuid.uuid4())]) == [made[3]]
    assert await ids(status="interrupted") == [made[0]]
    assert await ids(values={"done": 1}) == [made[1]]
    assert await ids(metadata={"mark": mark, "n": 4}) == [made[4]]
    assert await ids(metadata={"mark": "nobody's"}) == []
    assert await client.threads.count(metadata={"mark": mark}) == 5
    assert await client.threads.count(metadata={"mark": mark}, status="idle") == 4
    assert await client.threads.count(values={"done": 1}, metadata={"mark": mark}) == 1


async def test_parts_of_threads_are_found(client: Any) -> None:
    mark = str(uuid.uuid4())
    thread_id = (await client.threads.create(metadata={"mark": mark}))["thread_id"]
    await client.runs.wait(thread_id, "agent", input=HELLO)
    (found,) = await client.threads.search(
        metadata={"mark": mark}, select=["thread_id", "status"], extract={"last": "values.messages[-1].content"}
    )
    assert found == {"thread_id": thread_id, "status": "idle", "extracted": {"last": "echo: hi there"}}
    with pytest.raises(UnprocessableEntityError, match="select"):
        await client.threads.search(select=["bogus"])


async def test_the_state_of_a_thread(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    assert (await client.threads.get_state(thread_id))["checkpoint"] is None
    await client.runs.wait(thread_id, "agent", input=HELLO)
    state = await client.threads.get_state(thread_id)
    assert (texts(state["values"]), state["next"]) == (["hi there", "echo: hi there"], [])
    place = state["checkpoint"]
    assert await client.threads.get_state(thread_id, checkpoint_id=place["checkpoint_id"]) == state
    assert await client.threads.get_state(thread_id, checkpoint=place) == state
    only = await client.threads.get_state(thread_id, select=["values.messages", "next"])
    assert only == {"values": state["values"], "next": []}
    with pytest.raises(NotFoundError, match="Checkpoint"):
        await client.threads.get_state(thread_id, checkpoint_id=str(uuid.uuid4()))


async def test_the_state_of_a_subgraph(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "nested_hitl", input=HELLO)
    state = await client.threads.get_state(thread_id, subgraphs=True)
    below = state["tasks"][0]["state"]
    assert below["next"] == ["ask"]
    plain = await client.threads.get_state(thread_id)
    assert plain["tasks"][0]["state"] is None
    place = plain["tasks"][0]["checkpoint"]
    assert (await client.threads.get_state(thread_id, checkpoint=place))["next"] == ["ask"]


async def test_an_update_goes_through_the_reducers(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    with pytest.raises(BadRequestError, match="no assigned graph ID"):
        await client.threads.update_state(thread_id, HELLO)
    await client.runs.wait(thread_id, "agent", input=HELLO)
    more = {"messages": [{"role": "human", "content": "more"}]}
    updated = await client.threads.update_state(thread_id, more, as_node="model")
    state = await client.threads.get_state(thread_id)
    assert texts(state["values"]) == ["hi there", "echo: hi there", "more"]
    assert updated["checkpoint"] == state["checkpoint"]
    thread = await client.threads.get(thread_id)
    assert (texts(thread["values"])[-1], thread["status"]) == ("more", "idle")
    before = state["parent_checkpoint"]
    await client.threads.update_state(thread_id, more, as_node="model", checkpoint=before)
    assert texts((await client.threads.get_state(thread_id))["values"]) == ["hi there", "echo: hi there", "more"]


async def test_an_update_as_a_node_that_is_none_is_refused(client: Any) -> None:
    thread_id = (await client.threads.create(graph_id="agent"))["thread_id"]
    with pytest.raises(BadRequestError, match="refused"):
        await client.threads.update_state(thread_id, HELLO, as_node="nobody")


async def test_an_update_waits_its_turn(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=1)
    with pytest.raises(ConflictError, match="already running"):
        await client.threads.update_state(thread_id, {"done": 0})
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    await client.threads.update_state(thread_id, {"done": 7})
    assert (await client.threads.get_state(thread_id))["values"]["done"] == 7


async def test_an_update_after_a_question_answers_it_for_the_human(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "hitl", input=HELLO)
    await client.threads.update_state(thread_id, {"answer": "by hand"}, as_node="ask")
    thread = await client.threads.get(thread_id)
    assert thread["interrupts"] == {}
    assert texts(await client.runs.wait(thread_id, "hitl", input=None))[-1] == "answer=by hand"


async def test_the_history_of_a_thread(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    assert await client.threads.get_history(thread_id) == []
    for number in range(2):
        await client.runs.wait(
            thread_id, "slow", input={"steps": 2 * number + 2, "delay": 0.001}, metadata={"n": number}
        )
    history = await client.threads.get_history(thread_id, limit=100)
    assert [state["values"].get("done") for state in history] == [4, 3, 2, 2, 2, 1, None, None]
    place = history[2]["checkpoint"]
    for before in (place["checkpoint_id"], place, {"configurable": {"checkpoint_id": place["checkpoint_id"]}}):
        older = await client.threads.get_history(thread_id, before=before, limit=2)
        assert [state["checkpoint_id"] for state in older] == [state["checkpoint_id"] for state in history[3:5]]
    assert len(await client.threads.get_history(thread_id, metadata={"n": 0}, limit=100)) == 4
    assert await client.threads.get_history(thread_id, select=["next"], limit=1) == [{"next": []}]


async def test_the_history_of_a_subgraph(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "nested_hitl", input=HELLO)
    place = (await client.threads.get_state(thread_id))["tasks"][0]["checkpoint"]
    states = await client.threads.get_history(thread_id, checkpoint=place)
    assert [state["next"] for state in states] == [["ask"], ["__start__"]]


async def test_a_thread_with_a_past(client: Any) -> None:
    step = {"values": HELLO, "as_node": "__input__"}
    answer = {"values": {"messages": [{"role": "ai", "content": "bulk"}]}, "as_node": "model"}
    thread = await client.threads.create(graph_id="agent", supersteps=[{"updates": [step]}, {"updates": [answer]}])
    assert texts(thread["values"])[-1] == "bulk"
    assert len(await client.threads.get_history(thread["thread_id"])) == 2


async def test_messages_and_events_by_page(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for _ in range(2):
        run = (await client.runs.wait(thread_id, "tools", input=HELLO)) and (
            await client.runs.list(thread_id, limit=1)
        )[0]
    messages = (await client.http.get(f"/threads/{thread_id}/messages"))["data"]
    assert {message["category"] for message in messages} == {"message"}
    assert messages[0]["event_type"] == "human_message"
    of_run = f"/threads/{thread_id}/runs/{run['run_id']}"
    assert {message["run_id"] for message in (await client.http.get(f"{of_run}/messages"))["data"]} == {run["run_id"]}
    events, after = [], 0
    while True:
        page = await client.http.get(f"{of_run}/events", params={"after": after, "limit": 3})
        events += page["data"]
        assert len(page["data"]) <= 3
        if not page["has_more"]:
            break
        after = page["data"][-1]["seq"]
    assert [event["seq"] for event in events] == sorted({event["seq"] for event in events})
    assert (events[0]["event_type"], events[-1]["event_type"]) == ("human_message", "run_end")
    tools = (await client.http.get(f"{of_run}/events", params={"types": "tool_start,tool_end"}))["data"]
    assert [event["event_type"] for event in tools] == ["tool_start", "tool_end"]
    last = await client.http.get(f"{of_run}/events", params={"before": events[-1]["seq"], "limit": 1})
    assert (last["data"][0]["seq"], last["has_more"]) == (events[-2]["seq"], True)
