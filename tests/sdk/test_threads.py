"""Threads, with the methods that the Python SDK has for them."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk.errors import BadRequestError, ConflictError, NotFoundError, UnprocessableEntityError

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving

from .conftest import GRAPHS
from .flavours import Flavour, client_of
from .test_runs import HELLO, SLOW, reached, texts


async def test_thread_is_created_read_updated_and_deleted(client: Any) -> None:
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


async def test_create_with_an_existing_id(client: Any) -> None:
    thread_id = (await client.threads.create(metadata={"a": 1}))["thread_id"]
    with pytest.raises(ConflictError, match="already exists"):
        await client.threads.create(thread_id=thread_id)
    same = await client.threads.create(thread_id=thread_id, if_exists="do_nothing", metadata={"a": 2})
    assert same["metadata"] == {"a": 1}


async def test_ttl_of_a_thread_is_stored_and_shown(client: Any) -> None:
    thread = await client.threads.create(ttl=60)
    thread_id = thread["thread_id"]
    assert "ttl" not in thread
    assert "ttl" not in await client.threads.get(thread_id)
    told = await client.threads.get(thread_id, include=["ttl"])
    assert (told["ttl"]["strategy"], told["ttl"]["ttl_minutes"]) == ("delete", 60)
    kept = datetime.fromisoformat(told["ttl"]["expires_at"]) - datetime.fromisoformat(told["updated_at"])
    assert kept == timedelta(minutes=60)
    await client.threads.update(thread_id, metadata={}, ttl={"strategy": "keep_latest", "ttl": 1.5})
    told = await client.threads.get(thread_id, include=["ttl"])
    assert (told["ttl"]["strategy"], told["ttl"]["ttl_minutes"]) == ("keep_latest", 1.5)
    await client.threads.update(thread_id, metadata={"a": 1})
    assert (await client.threads.get(thread_id, include=["ttl"]))["ttl"]["ttl_minutes"] == 1.5
    forever = (await client.threads.create())["thread_id"]
    assert (await client.threads.get(forever, include=["ttl"]))["ttl"] is None
    with pytest.raises(UnprocessableEntityError, match="include"):
        await client.threads.get(thread_id, include=["ttl", "bogus"])


@pytest.mark.parametrize("ttl", [0, -1, 1e15, {"ttl": 5, "strategy": "burn"}, {"strategy": "delete"}, {"ttl": "5"}])
async def test_invalid_ttl_is_refused(client: Any, ttl: Any) -> None:
    with pytest.raises(UnprocessableEntityError, match="ttl"):
        await client.threads.create(ttl=ttl)
    thread_id = (await client.threads.create())["thread_id"]
    with pytest.raises(UnprocessableEntityError, match="ttl"):
        await client.threads.update(thread_id, metadata={"a": 1}, ttl=ttl)
    assert (await client.threads.get(thread_id))["metadata"] == {}


async def test_expired_thread_is_removed(tmp_path: Path, flavour: Flavour) -> None:
    config = tmp_path / "langgraph.json"
    ttl = {"default_ttl": 1 / 60, "sweep_interval_minutes": 0.002}
    graphs = {"slow": f"{GRAPHS.parent / 'recorded.py'}:slow"}
    config.write_text(json.dumps({"graphs": graphs, "checkpointer": {"ttl": ttl}}))
    async with serving(Application.from_file(config, data_dir=tmp_path / "data", port=0)) as url:
        client = client_of(flavour, url)
        short = (await client.threads.create())["thread_id"]
        long = (await client.threads.create(ttl=60))["thread_id"]
        trimmed = (await client.threads.create(ttl={"strategy": "keep_latest", "ttl": 1 / 60}))["thread_id"]
        await client.runs.wait(trimmed, "slow", input={"steps": 2, "delay": 0.001})
        busy = await client.runs.create(None, "slow", input={"steps": 60, "delay": 0.05}, on_completion="keep")
        for _ in range(500):
            gone = short not in {one["thread_id"] for one in await client.threads.search(ids=[short, long])}
            if gone and len(await client.threads.get_history(trimmed)) == 1:
                break
            await asyncio.sleep(0.02)
        with pytest.raises(NotFoundError):
            await client.threads.get(short)
        assert (await client.threads.get_state(trimmed))["values"]["done"] == 2
        assert await client.threads.get(long)
        # It runs for longer than its TTL, and is not swept.
        assert (await client.runs.join(busy["thread_id"], busy["run_id"]))["done"] == 60


async def test_copy_is_independent_of_the_thread(client: Any) -> None:
    thread_id = (await client.threads.create(metadata={"owner": "x"}, ttl=60))["thread_id"]
    await client.runs.wait(thread_id, "hitl", input=HELLO)
    copied = await client.threads.copy(thread_id)
    copy_id = copied["thread_id"]
    assert copy_id != thread_id
    assert (copied["metadata"]["owner"], copied["status"]) == ("x", "interrupted")
    assert copied["metadata"] == (await client.threads.get(thread_id))["metadata"]
    assert (await client.threads.get(copy_id, include=["ttl"]))["ttl"]["ttl_minutes"] == 60
    ours, theirs = [await client.threads.get_history(one) for one in (thread_id, copy_id)]
    assert [state["values"] for state in ours] == [state["values"] for state in theirs]
    assert {state["checkpoint"]["thread_id"] for state in theirs} == {copy_id}
    assert {state["metadata"]["thread_id"] for state in theirs} == {copy_id}
    assert await client.runs.list(copy_id) == []
    # The interrupt can be answered on both, separately.
    for one, said in ((copy_id, "no"), (thread_id, "yes")):
        answered = await client.runs.wait(one, "hitl", command={"resume": said})
        assert texts(answered)[-1] == f"answer={said}"
    await client.threads.delete(thread_id)
    assert texts((await client.threads.get_state(copy_id))["values"])[-1] == "answer=no"


async def test_busy_thread_is_copied(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=2)
    copied = await client.threads.copy(thread_id)
    done = copied["values"]["done"]
    assert (done >= 2, copied["status"]) == (True, "interrupted")
    await reached(client, thread_id, steps=done + 2)
    state = await client.threads.get_state(copied["thread_id"])
    assert (state["values"]["done"], state["next"]) == (done, ["tick"])
    await client.threads.delete(thread_id)
    await client.threads.update_state(copied["thread_id"], {"steps": done + 1, "delay": 0.001})
    assert (await client.runs.wait(copied["thread_id"], "slow", input=None))["done"] == done + 1


async def test_empty_thread_is_copied(client: Any) -> None:
    thread_id = (await client.threads.create(metadata={"a": 1}))["thread_id"]
    copied = await client.threads.copy(thread_id)
    assert (copied["metadata"], copied["values"], copied["status"]) == ({"a": 1}, None, "idle")
    with pytest.raises(NotFoundError, match="not found"):
        await client.threads.copy(str(uuid.uuid4()))


async def test_prune_deletes_threads(client: Any) -> None:
    made = [(await client.threads.create())["thread_id"] for _ in range(3)]
    await client.runs.create(made[0], "slow", input=SLOW)
    await reached(client, made[0], steps=1)
    assert await client.threads.prune([*made[:2], str(uuid.uuid4())]) == {"pruned_count": 2}
    assert [one["thread_id"] for one in await client.threads.search(ids=made)] == made[2:]
    assert await client.threads.prune(made[:2]) == {"pruned_count": 0}
    assert await client.threads.prune([]) == {"pruned_count": 0}


async def test_threads_are_pruned_to_their_latest_state(client: Any) -> None:
    made = [(await client.threads.create())["thread_id"] for _ in range(2)]
    for thread_id in made:
        await client.runs.wait(thread_id, "hitl", input=HELLO)
    before = await client.threads.get_state(made[0])
    assert await client.threads.prune(made[:1], strategy="keep_latest") == {"pruned_count": 1}
    assert await client.threads.get_history(made[0]) == [before]
    assert len(await client.threads.get_history(made[1])) > 1
    assert texts(await client.runs.wait(made[0], "hitl", command={"resume": "yes"}))[-1] == "answer=yes"
    assert len(await client.runs.list(made[0])) == 2


async def test_busy_thread_is_not_pruned_to_its_latest_state(client: Any) -> None:
    idle, busy = [(await client.threads.create())["thread_id"] for _ in range(2)]
    await client.runs.wait(idle, "agent", input=HELLO)
    await client.runs.create(busy, "slow", input=SLOW)
    await reached(client, busy, steps=2)
    with pytest.raises(ConflictError, match=f"none was: {busy}"):
        await client.threads.prune([idle, busy], strategy="keep_latest")
    assert len(await client.threads.get_history(idle)) == 3
    with pytest.raises(UnprocessableEntityError, match="strategy"):
        await client.threads.prune([idle], strategy="burn")
    await client.threads.delete(busy)


async def test_busy_thread_is_deleted(client: Any) -> None:
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
    assert await ids(metadata={"mark": "unowned"}) == []
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


async def test_state_of_a_thread(client: Any) -> None:
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


async def test_state_of_a_subgraph(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "nested_hitl", input=HELLO)
    state = await client.threads.get_state(thread_id, subgraphs=True)
    below = state["tasks"][0]["state"]
    assert below["next"] == ["ask"]
    plain = await client.threads.get_state(thread_id)
    assert plain["tasks"][0]["state"] is None
    place = plain["tasks"][0]["checkpoint"]
    assert (await client.threads.get_state(thread_id, checkpoint=place))["next"] == ["ask"]


async def test_update_goes_through_the_reducers(client: Any) -> None:
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


async def test_update_as_an_unknown_node_is_refused(client: Any) -> None:
    thread_id = (await client.threads.create(graph_id="agent"))["thread_id"]
    with pytest.raises(BadRequestError, match="refused"):
        await client.threads.update_state(thread_id, HELLO, as_node="unknown")


async def test_update_waits_its_turn(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    run = await client.runs.create(thread_id, "slow", input=SLOW)
    await reached(client, thread_id, steps=1)
    with pytest.raises(ConflictError, match="already running"):
        await client.threads.update_state(thread_id, {"done": 0})
    await client.runs.cancel(thread_id, run["run_id"], wait=True)
    await client.threads.update_state(thread_id, {"done": 7})
    assert (await client.threads.get_state(thread_id))["values"]["done"] == 7


async def test_update_after_a_question_answers_it_for_the_human(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "hitl", input=HELLO)
    await client.threads.update_state(thread_id, {"answer": "by hand"}, as_node="ask")
    thread = await client.threads.get(thread_id)
    assert thread["interrupts"] == {}
    assert texts(await client.runs.wait(thread_id, "hitl", input=None))[-1] == "answer=by hand"


async def test_history_of_a_thread(client: Any) -> None:
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


async def test_history_of_a_subgraph(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    await client.runs.wait(thread_id, "nested_hitl", input=HELLO)
    place = (await client.threads.get_state(thread_id))["tasks"][0]["checkpoint"]
    states = await client.threads.get_history(thread_id, checkpoint=place)
    assert [state["next"] for state in states] == [["ask"], ["__start__"]]


async def test_thread_is_created_with_supersteps(client: Any) -> None:
    step = {"values": HELLO, "as_node": "__input__"}
    answer = {"values": {"messages": [{"role": "ai", "content": "bulk"}]}, "as_node": "model"}
    thread = await client.threads.create(graph_id="agent", supersteps=[{"updates": [step]}, {"updates": [answer]}])
    assert texts(thread["values"])[-1] == "bulk"
    assert len(await client.threads.get_history(thread["thread_id"])) == 2
    # It continues from there.
    assert texts(await client.runs.wait(thread["thread_id"], "agent", input=HELLO)) == [
        "bulk",
        "hi there",
        "echo: hi there",
    ]


async def test_supersteps_with_commands_and_parallel_updates(client: Any) -> None:
    steps: list[Any] = [
        {"updates": [{"values": {"answers": ["first"]}, "as_node": "__input__"}]},
        {"updates": [{"values": {"answers": ["first"]}, "as_node": "__start__"}]},
        {
            "updates": [
                {"values": {"answers": ["a"]}, "as_node": "a"},
                {"values": None, "command": {"update": {"answers": ["b"]}}, "as_node": "b"},
            ]
        },
    ]
    thread = await client.threads.create(graph_id="multi", supersteps=steps)
    assert sorted(thread["values"]["answers"]) == ["a", "b", "first"]
    again = await client.threads.create(
        thread_id=thread["thread_id"], graph_id="multi", supersteps=steps, if_exists="do_nothing"
    )
    assert again["values"] == thread["values"]


async def test_superstep_command_sets_the_next_node(client: Any) -> None:
    steps: list[Any] = [
        {"updates": [{"values": {"steps": 5, "delay": 0.001}, "as_node": "__input__"}]},
        {"updates": [{"values": {"steps": 5, "delay": 0.001}, "as_node": "__start__"}]},
        {"updates": [{"values": None, "command": {"update": {"done": 3}, "goto": "tick"}, "as_node": "tick"}]},
    ]
    thread = await client.threads.create(graph_id="slow", supersteps=steps)
    assert thread["values"]["done"] == 3
    assert (await client.threads.get_state(thread["thread_id"]))["next"] == ["tick"]
    assert (await client.runs.wait(thread["thread_id"], "slow", input=None))["done"] == 5


@pytest.mark.parametrize(
    ("update", "said"),
    [
        ({"values": None, "command": {"resume": "yes"}, "as_node": "model"}, "needs a run"),
        ({"values": None, "command": {}, "as_node": "model"}, "at least one of"),
        ({"values": {"messages": []}, "command": {"update": {}}, "as_node": "model"}, "values or a command"),
        ({"values": {"messages": []}, "as_node": "unknown"}, "refused"),
    ],
)
async def test_invalid_supersteps_create_no_thread(client: Any, update: Any, said: str) -> None:
    thread_id = str(uuid.uuid4())
    with pytest.raises((BadRequestError, UnprocessableEntityError), match=said):
        await client.threads.create(thread_id=thread_id, graph_id="agent", supersteps=[{"updates": [update]}])
    with pytest.raises(NotFoundError):
        await client.threads.get(thread_id)


async def test_messages_and_events_by_page(client: Any) -> None:
    thread_id = (await client.threads.create())["thread_id"]
    for _ in range(2):
        run = (await client.runs.wait(thread_id, "tools", input=HELLO)) and (
            await client.runs.list(thread_id, limit=1)
        )[0]
    messages = (await client.http.get(f"/threads/{thread_id}/messages"))["data"]
    state = await client.threads.get_state(thread_id)
    assert [message["id"] for message in messages] == [message["id"] for message in state["values"]["messages"]]
    assert messages[0]["type"] == "human"
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
