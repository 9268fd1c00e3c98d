"""Threads read as streams of events, on a real server: content, recipients, repetition, and order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.graphs.configuration import read_configuration
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.types import RunScope, RunSpec, ThreadId
from runstead.settings import load_settings
from runstead.wire.protocol.events import Subscription
from tests.servers.sqlite import current_data

from .conftest import GRAPHS
from .event_reader import EVERYTHING, HI, command, data_of, endings, following, start


@asynccontextmanager
async def server(place: Path, **flags: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A server on the data in ``place``; a later server finds the data of this one."""
    options = {
        "data_dir": current_data(place / "data"),
        "port": 0,
        "shutdown_grace_seconds": 0.1,
        "heartbeat_seconds": 0.2,
        **flags,
    }
    application = Application(load_settings(options, project=place), read_configuration(GRAPHS))
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
async def http(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with server(tmp_path) as client:
        yield client


@pytest.fixture
def thread_id() -> str:
    return str(uuid4())


async def test_client_that_came_before_the_thread_sees_its_first_run(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id, "stream") as follower:
        run_id = await start(http, thread_id, "agent")
        events = await follower.run_ended()
    assert events[0]["event_id"] == f"synth:{run_id}:lc||running"
    assert events[-1]["event_id"] == f"synth:{run_id}:lc||completed"
    assert follower.ids == [str(event["seq"]) for event in events]


async def test_every_channel_has_events(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "nested")
        await start(http, thread_id, "tools")
        await start(http, thread_id, "hitl")
        await follower.run_ended(3)
    assert {event["method"] for event in follower.events} == {
        "values", "updates", "messages", "tools", "custom", "lifecycle", "input.requested", "tasks", "checkpoints",
    }  # fmt: skip
    assert data_of(follower.of("custom")) == [{"payload": {"progress": "parent"}}, {"payload": {"progress": "child"}}]
    assert data_of(follower.of("tools")) == [
        {"event": "tool-started", "tool_call_id": "call_1", "tool_name": "add", "input": {"a": 2, "b": 3}},
        {
            "event": "tool-finished",
            "tool_call_id": "call_1",
            "output": {**follower.of("tools")[1]["params"]["data"]["output"], "type": "tool", "content": "5"},
        },
    ]
    assert [update["node"] for update in data_of(follower.of("updates"))][:3] == ["before", "child_model", "child"]


async def test_checkpoint_event_precedes_its_values(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id, channels=["values", "checkpoints"]) as follower:
        await start(http, thread_id, "agent")
        await follower.until(lambda it: len(it.of("values")) == 2)
    assert [event["method"] for event in follower.events] == [
        "checkpoints",
        "checkpoints",
        "values",
        "checkpoints",
        "values",
    ]
    state = (await http.get(f"/threads/{thread_id}/state")).json()
    envelope = follower.of("checkpoints")[-1]["params"]
    assert envelope["data"] == {
        "id": state["checkpoint"]["checkpoint_id"],
        "parent_id": state["parent_checkpoint"]["checkpoint_id"],
        "step": 1,
        "source": "loop",
    }


async def test_events_are_no_younger_than_the_state_they_are_in(http: httpx.AsyncClient, thread_id: str) -> None:
    """A client that has read the state drops events older than it, and must not drop newer ones."""
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "agent")
        await follower.run_ended()
    created = (await http.get(f"/threads/{thread_id}/state")).json()["created_at"]
    floor = int(datetime.fromisoformat(created).timestamp() * 1_000)
    *earlier, last = follower.of("values")
    assert last["params"]["timestamp"] >= floor
    assert all(event["params"]["timestamp"] < floor for event in [*earlier, *follower.of("messages")])


async def test_every_reader_sees_the_same_numbers_and_ids(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as live:
        for graph in ("nested", "tools"):
            await start(http, thread_id, graph)
        await live.run_ended(2)
    async with following(http, thread_id) as late:
        await late.run_ended(2)
    assert late.events == live.events
    numbers = [event["seq"] for event in live.events]
    assert numbers == sorted(set(numbers))
    async with following(http, thread_id, channels=["lifecycle", "values"]) as narrow:
        await narrow.run_ended(2)
    assert narrow.events == [event for event in live.events if event["method"] in ("lifecycle", "values")]


async def test_since_skips_events_already_seen(http: httpx.AsyncClient, thread_id: str) -> None:
    await start(http, thread_id, "agent")
    async with following(http, thread_id) as whole:
        await whole.run_ended()
    for place in (3, len(whole.events) - 2):
        since = whole.events[place]["seq"]
        async with following(http, thread_id, since=since) as rest:
            await rest.run_ended()
        assert rest.events == whole.events[place + 1 :]
        assert rest.notices == []


async def test_up_to_date_reader_waits_for_the_next_run(http: httpx.AsyncClient, thread_id: str) -> None:
    await start(http, thread_id, "agent")
    async with following(http, thread_id) as first:
        await first.run_ended()
    async with following(http, thread_id, since=first.events[-1]["seq"]) as second:
        run_id = await start(http, thread_id, "agent")
        await second.run_ended()
    assert {event["event_id"].split(":")[0] for event in second.events} <= {"synth", run_id}


@pytest.mark.parametrize(
    ("namespaces", "depth", "seen"),
    [
        ([[]], 0, {"root"}),
        ([[]], 1, {"root", "child"}),
        ([["child"]], None, {"child"}),
        ([["child:unknown"]], None, set()),
        ([["other"], []], 0, {"root"}),
        (None, None, {"root", "child"}),
    ],
)
async def test_namespaces_and_depth_narrow_a_stream(
    namespaces: Any, depth: int | None, seen: set[str], http: httpx.AsyncClient, thread_id: str
) -> None:
    await start(http, thread_id, "nested")
    narrow: dict[str, Any] = {
        key: value for key, value in (("namespaces", namespaces), ("depth", depth)) if value is not None
    }
    async with following(http, thread_id) as whole, following(http, thread_id, **narrow) as follower:
        await whole.run_ended()
        await follower.until(lambda it: it.comments > 0)
    names = {"child" if event["params"]["namespace"] else "root" for event in follower.events}
    assert names == seen


async def test_stream_stays_open_between_runs_with_heartbeats(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "agent")
        await follower.run_ended()
        before = follower.comments
        await follower.until(lambda it: it.comments >= before + 2)
        assert not follower.ended
        await start(http, thread_id, "agent")
        await follower.run_ended(2)


async def test_run_created_through_the_rest_api_appears_too(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        body = {"assistant_id": "nested", "input": HI, "if_not_exists": "create", "stream_subgraphs": True}
        run = (await http.post(f"/threads/{thread_id}/runs", json=body)).json()
        await follower.run_ended()
    lived = [data["event"] for data in data_of(follower.of("lifecycle"))]
    assert lived == ["running", "started", "completed", "completed"]
    assert follower.events[0]["event_id"] == f"synth:{run['run_id']}:lc||running"
    assert {event["method"] for event in follower.events} == {"lifecycle", "values"}


async def test_run_that_is_stopped_ends_as_interrupted(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        run_id = await start(http, thread_id, "slow", {"steps": 100, "delay": 0.05})
        await follower.until(lambda it: it.of("custom"))
        await http.post(f"/threads/{thread_id}/runs/{run_id}/cancel?wait=1")
        await follower.run_ended()
    assert endings(follower.events)[0]["params"]["data"]["event"] == "interrupted"


async def test_queued_runs_are_streamed_one_after_the_other(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id, channels=["lifecycle"]) as follower:
        runs = [await start(http, thread_id, "slow", {"steps": 2, "delay": 0.03}) for _ in range(3)]
        await follower.run_ended(3)
    assert [event["event_id"].split(":")[1] for event in follower.events] == [run for run in runs for _ in range(2)]


async def test_input_response_is_reported_when_its_run_starts(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id, channels=["input", "lifecycle", "values"]) as follower:
        await start(http, thread_id, "nested_hitl")
        await follower.run_ended()
        (asked,) = follower.of("input.requested")
        interrupt_id = asked["params"]["data"]["interrupt_id"]
        assert asked["params"]["data"]["payload"] == asked["params"]["data"]["value"] == {"question": "approve?"}
        assert asked["params"]["namespace"][0].startswith("child:")
        answer = await command(http, thread_id, "input.respond", interrupt_id=interrupt_id, response="yes")
        await follower.run_ended(2)
    (answered,) = follower.of("input.answered")
    assert answered["params"]["data"] == {"interrupt_ids": [interrupt_id]}
    assert answered["event_id"] == f"synth:{answer['result']['run_id']}:answered"
    assert follower.of("values")[-1]["params"]["data"]["answer"] == "yes"


async def test_interrupt_answered_ten_times_concurrently_is_answered_once(
    http: httpx.AsyncClient, thread_id: str
) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "hitl")
        await follower.run_ended()
        interrupt_id = follower.of("input.requested")[0]["params"]["data"]["interrupt_id"]
        answers = await asyncio.gather(
            *(
                command(http, thread_id, "input.respond", interrupt_id=interrupt_id, response=str(number))
                for number in range(10)
            )
        )
        await follower.run_ended(2)
    assert sorted(answer["type"] for answer in answers) == ["error"] * 9 + ["success"]
    assert {answer["error"] for answer in answers if answer["type"] == "error"} == {"no_such_interrupt"}
    assert len((await http.get(f"/threads/{thread_id}/runs")).json()) == 2


async def test_several_interrupts_are_answered_together(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "multi", {"answers": []})
        await follower.run_ended()
        asked = {data["payload"]: data["interrupt_id"] for data in data_of(follower.of("input.requested"))}
        assert asked.keys() == {"a?", "b?"}
        responses = [
            {"namespace": [], "interrupt_id": asked["a?"], "response": 1},
            {"namespace": [], "interrupt_id": asked["b?"], "response": 2},
        ]
        await command(http, thread_id, "input.respond", responses=responses)
        await follower.run_ended(2)
    assert endings(follower.events)[-1]["params"]["data"]["event"] == "completed"
    assert follower.of("values")[-1]["params"]["data"] == {"answers": ["a=1", "b=2"]}


async def test_several_interrupts_are_answered_one_by_one(http: httpx.AsyncClient, thread_id: str) -> None:
    """Also concurrently: the second answer need not wait until the first one's run has ended."""
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "multi", {"answers": []})
        await follower.run_ended()
        # Two nodes interrupt at the same time: the order of the interrupts is not guaranteed.
        asked = {data["payload"]: data["interrupt_id"] for data in data_of(follower.of("input.requested"))}
        for number, question in enumerate(("a?", "b?")):
            answer = await command(http, thread_id, "input.respond", interrupt_id=asked[question], response=number)
            assert answer["type"] == "success", answer
        await follower.run_ended(3)
    assert sorted((await http.get(f"/threads/{thread_id}/state")).json()["values"]["answers"]) == ["a=0", "b=1"]


async def test_input_for_an_interrupted_thread_is_taken_as_the_answer(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "hitl")
        await follower.run_ended()
        await start(http, thread_id, "hitl", "of course")
        await follower.run_ended(2)
    assert follower.of("values")[-1]["params"]["data"]["answer"] == "of course"


async def test_states_are_read_listed_and_forked(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "agent")
        await follower.run_ended()
        state = (await command(http, thread_id, "state.get", namespace=[], keys=["messages"]))["result"]
        assert [message["content"] for message in state["values"]["messages"]] == ["hi there", "echo: hi there"]
        listed = (await command(http, thread_id, "state.listCheckpoints"))["result"]["checkpoints"]
        assert [one["step"] for one in listed] == [1, 0, -1]
        assert listed[0]["id"] == state["checkpoint"]["id"]
        before = await command(http, thread_id, "state.listCheckpoints", before=listed[0]["id"], limit=1)
        assert before["result"]["checkpoints"] == [listed[1]]
        forked = await command(http, thread_id, "state.fork", checkpoint_id=listed[1]["id"])
        assert forked["result"]["thread_id"] == thread_id
        await follower.run_ended(2)
    assert [len(data["messages"]) for data in data_of(follower.of("values"))] == [1, 2, 1, 2]


async def test_missing_resource_is_named_in_the_error(http: httpx.AsyncClient, thread_id: str) -> None:
    nowhere = str(uuid4())
    assert (await command(http, thread_id, "state.get"))["error"] == "no_such_run"
    assert (await command(http, thread_id, "agent.getTree"))["error"] == "no_such_run"
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "agent")
        await follower.run_ended()
    assert (await command(http, thread_id, "state.get", namespace=["unknown"]))["error"] == "no_such_namespace"
    assert (await command(http, thread_id, "state.fork", checkpoint_id=nowhere))["error"] == "no_such_checkpoint"
    assert (await command(http, thread_id, "state.fork", checkpoint_id="x"))["error"] == "no_such_checkpoint"
    assert (await command(http, thread_id, "input.respond", response=1))["error"] == "invalid_argument"
    assert (await command(http, thread_id, "subscription.subscribe", channels=["values"]))["error"] == "unsupported"


async def test_message_can_be_inserted(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "agent")
        await follower.run_ended()
        await command(http, thread_id, "input.inject", namespace=[], message={"role": "user", "content": "more"})
        await follower.run_ended(2)
    assert [one["content"] for one in follower.of("values")[-1]["params"]["data"]["messages"]][2:] == [
        "more",
        "echo: more",
    ]


async def test_tree_shows_the_graphs_of_a_run(http: httpx.AsyncClient, thread_id: str) -> None:
    async with following(http, thread_id) as follower:
        await start(http, thread_id, "nested_hitl")
        await follower.run_ended()
    tree = (await command(http, thread_id, "agent.getTree"))["result"]["tree"]
    (child,) = tree.pop("children")
    assert tree == {"namespace": [], "status": "interrupted", "graph_name": "nested_hitl"}
    assert (child["status"], child["graph_name"]) == ("interrupted", "child")
    other = str(uuid4())
    async with following(http, other) as follower:
        await start(http, other, "slow", {"steps": 50, "delay": 0.05})
        await follower.until(lambda it: it.of("custom"))
        tree = (await command(http, other, "agent.getTree"))["result"]["tree"]
    assert (tree["status"], tree["graph_name"]) == ("running", "slow")


async def test_strategy_counts_under_both_of_its_names(http: httpx.AsyncClient, thread_id: str) -> None:
    await start(http, thread_id, "slow", {"steps": 50, "delay": 0.05})
    for name in ("multitaskStrategy", "multitask_strategy"):
        params = {"assistant_id": "slow", "input": {}, name: "reject"}
        answer = await command(http, thread_id, "run.start", **params)
        assert (answer["type"], answer["message"][:4]) == ("error", "409:")


async def test_thread_is_replayed_from_storage_after_a_restart(tmp_path: Path, thread_id: str) -> None:
    async with server(tmp_path) as http, following(http, thread_id) as before:
        await start(http, thread_id, "fail")
        await start(http, thread_id, "nested_hitl")
        await before.run_ended(2)
    async with server(tmp_path) as http:
        async with following(http, thread_id) as after:
            await after.run_ended(2)
            interrupt_id = after.of("input.requested")[0]["params"]["data"]["interrupt_id"]
            await command(http, thread_id, "input.respond", interrupt_id=interrupt_id, response="yes")
            await after.run_ended(3)
        known = {event["event_id"]: event for event in before.events}
        replayed = [event for event in after.events if event["seq"] <= endings(after.events)[1]["seq"]]
        # Events that a client has already seen keep their ids; of the others it gets the latest values.
        assert {event["event_id"] for event in replayed} - known.keys() == {f"synth:{run_of(replayed)}:values"}
        assert [event["event_id"] for event in endings(replayed)] == [
            event["event_id"] for event in endings(before.events)
        ]
        asked = after.of("input.requested")[0]
        assert asked["params"] == {**known[asked["event_id"]]["params"], "timestamp": asked["params"]["timestamp"]}
        assert [event["seq"] for event in after.events] == sorted({event["seq"] for event in after.events})
        assert endings(replayed)[0]["params"]["data"] == {"event": "failed", "graph_name": "fail", "error": "boom"}
        # Numbers continue: no event of a later run has a number seen before the restart.
        assert after.events[len(replayed)]["seq"] > max(event["seq"] for event in before.events)


def run_of(events: list[Any]) -> str:
    run_id: str = endings(events)[-1]["event_id"].split(":")[1]
    return run_id


async def test_reader_of_permanently_lost_events_gets_a_gap(tmp_path: Path, thread_id: str) -> None:
    async with server(tmp_path, stream_archive=False) as http, following(http, thread_id) as before:
        await start(http, thread_id, "agent")
        await before.run_ended()
    async with server(tmp_path) as http:
        seen = before.events[4]["seq"]
        async with following(http, thread_id, since=seen) as after:
            await after.run_ended()
        (gap,) = after.notices
        assert gap["params"]["data"]["since"] == seen
        assert [event["method"] for event in after.events] == ["values", "lifecycle"]
        assert after.events[0]["params"]["data"] == before.of("values")[-1]["params"]["data"]
        async with following(http, thread_id, since=before.events[-1]["seq"]) as nothing_missed:
            await nothing_missed.until(lambda it: it.comments >= 1)
        assert nothing_missed.notices == []


async def test_shutdown_cuts_streams(tmp_path: Path, thread_id: str) -> None:
    options = {"data_dir": tmp_path / "data", "port": 0, "shutdown_grace_seconds": 0.1, "heartbeat_seconds": 0.2}
    application = Application(load_settings(options, project=tmp_path), read_configuration(GRAPHS))
    async with httpx.AsyncClient(timeout=30) as http:
        async with serving(application) as url:
            http.base_url = httpx.URL(url)
            context = following(http, thread_id)
            follower = await context.__aenter__()
            await follower.until(lambda it: it.comments >= 1)
        await follower.until(lambda it: it.cut, seconds=5)
        await context.__aexit__(None, None, None)


async def test_thread_sends_no_events_to_other_users(tmp_path: Path, thread_id: str) -> None:
    options = {"data_dir": tmp_path / "data", "shutdown_grace_seconds": 0.1}
    application = Application(load_settings(options, project=tmp_path), read_configuration(GRAPHS))
    wanted = Subscription(frozenset(EVERYTHING))
    async with application.running() as services:
        with acting(ActorContext(user_id="owner")):
            assistant = await services.assistant_lookup.find("agent")
            scope = RunScope(if_not_exists="create")
            spec = RunSpec(
                assistant.assistant_id, "agent", ThreadId(thread_id), scope=scope, input=HI, stream_modes=("values",)
            )
            await services.runs.create_and_wait(spec)
            told = await services.thread_events.current_events(ThreadId(thread_id), wanted)
            assert [event.method for event in told] == ["lifecycle", "values", "values", "lifecycle"]
        with acting(ActorContext(user_id="other")):
            assert await services.thread_events.current_events(ThreadId(thread_id), wanted) == []
            async with services.interrupts.of(ThreadId(thread_id)) as waiting:
                assert waiting == {}
