"""Use of assistants by runs, and effects on runs when an assistant changes or is deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from .assistants import Served, a_new, a_thread

LATER = 3600


async def test_run_keeps_the_version_that_it_was_created_with(served: Served) -> None:
    """Also pending runs: enqueued or delayed ones."""
    async with served() as client:
        made = await a_new(client, context={"color": "red"}, metadata={"k": "old"}, config={"tags": ["old"]})
        place, run = f"/assistants/{made['assistant_id']}", {"assistant_id": made["assistant_id"], "input": {}}
        thread = await a_thread(client)
        busy = {"assistant_id": "slow", "input": {"steps": 4, "delay": 0.1}}
        await client.post(f"/threads/{thread}/runs", json=busy)
        queued = (await client.post(f"/threads/{thread}/runs", json=run)).json()
        later = await a_thread(client)
        delayed = (await client.post(f"/threads/{later}/runs", json={**run, "after_seconds": 0.5})).json()
        assert queued["status"] == delayed["status"] == "pending"
        change = {"context": {"color": "blue"}, "metadata": {"k": "new"}, "config": {"tags": ["new"]}}
        assert (await client.patch(place, json=change)).json()["version"] == 2
        for one in (queued, delayed):
            seen = (await client.get(f"/threads/{one['thread_id']}/runs/{one['run_id']}/join")).json()["seen"]
            assert (seen["context"], seen["configurable"]["color"]) == ({"color": "red"}, "red")
            assert (seen["metadata"]["k"], seen["tags"]) == ("old", ["old"])
        seen = (await client.post("/runs/wait", json=run)).json()["seen"]
        assert (seen["context"], seen["metadata"]["k"], seen["tags"]) == ({"color": "blue"}, "new", ["new"])


async def test_assistant_thread_and_run_are_merged_in_this_order(served: Served) -> None:
    async with served() as client:
        made = await a_new(
            client,
            config={"tags": ["assistant"], "metadata": {"c": "assistant"}},
            context={"color": "red", "shade": "dark"},
            metadata={"a": "assistant", "b": "assistant", "d": "assistant"},
        )
        thread = (await client.post("/threads", json={"metadata": {"b": "thread", "d": "thread"}})).json()["thread_id"]

        async def seen(**fields: Any) -> dict[str, Any]:
            body = {"assistant_id": made["assistant_id"], "input": {}, **fields}
            answer = await client.post(f"/threads/{thread}/runs/wait", json=body)
            found: dict[str, Any] = answer.json()["seen"]
            return found

        of_run = await seen(config={"configurable": {"color": "blue"}, "tags": ["run"]}, metadata={"d": "run"})
        assert (of_run["context"], of_run["configurable"]["color"]) == ({"color": "blue"}, "blue")
        told = {name: of_run["metadata"][name] for name in "abcd"}
        assert told == {"a": "assistant", "b": "thread", "c": "assistant", "d": "run"}
        assert of_run["tags"] == ["run"]
        by_context = await seen(context={"color": "green"})
        assert (by_context["context"], by_context["configurable"]["color"]) == ({"color": "green"}, "green")
        assert by_context["tags"] == ["assistant"]
        # The assistant's values do not conflict with configurable keys of the request.
        refused = {"assistant_id": made["assistant_id"], "context": {"a": 1}, "config": {"configurable": {"b": 1}}}
        assert (await client.post("/runs/wait", json=refused)).status_code == 400


async def test_delete_interrupts_runs_in_flight_and_keeps_results(served: Served) -> None:
    async with served() as client:
        made, other = await a_new(client, graph_id="slow"), await a_new(client, graph_id="slow")
        run = {"assistant_id": made["assistant_id"], "input": {"steps": 500, "delay": 0.02}}
        ended, busy, delayed, mixed = threads = [await a_thread(client) for _ in range(4)]
        await client.post(f"/threads/{ended}/runs/wait", json={**run, "input": {"steps": 1, "delay": 0}})
        mine = [
            (await client.post(f"/threads/{thread}/runs", json={**run, **more})).json()
            for thread, more in ((busy, {}), (busy, {}), (delayed, {"after_seconds": LATER}))
        ]
        short = {"assistant_id": other["assistant_id"], "input": {"steps": 4, "delay": 0.05}}
        theirs = (await client.post(f"/threads/{mixed}/runs", json=short)).json()
        mine.append((await client.post(f"/threads/{mixed}/runs", json=run)).json())
        stateless = (await client.post("/runs", json=run)).json()
        reading = asyncio.create_task(client.get(f"/threads/{busy}/runs/{mine[0]['run_id']}/stream"))
        assert (await client.delete(f"/assistants/{made['assistant_id']}")).status_code == 204
        assert (await asyncio.wait_for(reading, 60)).status_code == 200
        for one in (*mine, stateless):
            place = f"/threads/{one['thread_id']}/runs/{one['run_id']}"
            await asyncio.wait_for(client.get(f"{place}/join"), 60)
            told = (await client.get(f"/runs/{one['run_id']}")).json()
            assert (told["status"], told["assistant_id"]) == ("interrupted", made["assistant_id"])
        place = f"/threads/{mixed}/runs/{theirs['run_id']}"
        assert (await client.get(f"{place}/join")).json()["done"] == 4
        assert (await client.get(place)).json()["status"] == "success"
        (old,) = (await client.get(f"/threads/{ended}/runs")).json()
        assert old["status"] == "success"
        for thread in threads:
            assert (await client.post(f"/threads/{thread}/history", json={})).status_code == 200
            again = await client.post(f"/threads/{thread}/runs/wait", json=run)
            assert (again.status_code, again.json()["detail"]) == (404, "Thread or assistant not found.")
            more = await client.post(f"/threads/{thread}/runs/wait", json={**short, "input": {"steps": 1, "delay": 0}})
            assert more.status_code == 200


async def test_delete_with_threads_stops_running_and_pending_runs(served: Served) -> None:
    async with served() as client:
        made = await a_new(client, graph_id="slow")
        run = {"assistant_id": made["assistant_id"], "input": {"steps": 1000, "delay": 0.01}}
        threads = [await a_thread(client) for _ in range(3)]
        runs = [(await client.post(f"/threads/{thread}/runs", json=run)).json()["run_id"] for thread in threads]
        await client.post(f"/threads/{threads[0]}/runs", json={**run, "after_seconds": LATER})
        other = await a_thread(client)
        reading = asyncio.create_task(client.get(f"/threads/{threads[1]}/runs/{runs[1]}/join"))
        deleted = await client.delete(f"/assistants/{made['assistant_id']}?delete_threads=true")
        assert (deleted.status_code, deleted.content) == (204, b"")
        assert (await asyncio.wait_for(reading, 60)).status_code in (200, 404)
        for thread, run_id in zip(threads, runs, strict=True):
            assert (await client.get(f"/threads/{thread}")).status_code == 404
            assert (await client.get(f"/threads/{thread}/runs/{run_id}")).status_code == 404
        assert (await client.get(f"/threads/{other}")).status_code == 200
        assert (await client.delete(f"/assistants/{made['assistant_id']}")).status_code == 404


async def test_concurrent_deletes_updates_and_runs_cause_no_server_error(served: Served) -> None:
    async with served() as client:
        made = await a_new(client)
        place, run = f"/assistants/{made['assistant_id']}", {"assistant_id": made["assistant_id"], "input": {}}
        answers = await asyncio.gather(
            *(client.patch(place, json={"metadata": {"n": n}}) for n in range(5)),
            *(client.post("/runs/wait", json=run) for _ in range(3)),
            client.delete(f"{place}?delete_threads=true"),
            client.delete(place),
            *(client.post(f"{place}/latest", json={"version": 1}) for _ in range(3)),
            *(client.post(f"{place}/versions", json={}) for _ in range(3)),
        )
        assert {answer.status_code for answer in answers} <= {200, 204, 404}
        assert [answer.status_code for answer in answers].count(204) == 1
        assert (await client.get(place)).status_code == 404


async def test_server_owned_keys_are_not_stored(served: Served) -> None:
    """Clients send back fields that they have read, also those of runs."""
    own = {"langgraph_auth_user": {"identity": "eve"}, "__pregel_x": 1, "color": "red"}
    async with served() as client:
        for fields in ({"context": own}, {"config": {"configurable": own}}):
            made = await a_new(client, **fields)
            assert (made["context"], made["config"]) == ({"color": "red"}, {"configurable": {"color": "red"}})
        made = await a_new(client, config={"configurable": {"thread_id": "x", "checkpoint_id": "y", "color": "red"}})
        run = await client.post("/runs/wait", json={"assistant_id": made["assistant_id"], "input": {}})
        assert run.status_code == 200
        assert run.json()["seen"]["configurable"]["thread_id"] != "x"


async def test_config_keeps_keys_that_affect_runs(served: Served) -> None:
    config = {"tags": ["t"], "metadata": {"m": None}, "recursion_limit": 9, "max_concurrency": 2, "run_name": "r"}
    async with served() as client:
        made = await a_new(client, config={**config, "callbacks": None})
        assert made["config"] == config
        run = (await client.post("/runs", json={"assistant_id": made["assistant_id"], "input": {}})).json()
        told = run["kwargs"]["config"]
        assert {name: told[name] for name in config if name != "metadata"} == {
            name: config[name] for name in config if name != "metadata"
        }
        refused = await client.patch(f"/assistants/{made['assistant_id']}", json={"config": {"callbacks": ["x"]}})
        assert refused.status_code == 422
        assert refused.json()["detail"].startswith("config: 'callbacks' has no effect on runs; known fields are tags, ")
