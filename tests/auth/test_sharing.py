"""A filter shares: users whose grant matches get a resource of any owner; others get 404."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import httpx
import pytest
from langgraph_sdk.errors import APIStatusError, NotFoundError
from websockets.asyncio.client import connect

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from tests.servers.sqlite import current_data

from .conftest import ClientOf
from .test_routes import Route, ask, of_threads

Tries: TypeAlias = Sequence[Callable[[], Awaitable[Any]]]

ALICE, BOB, EVE = "alice acme", "bob acme", "eve other"
CONFIG = Path(__file__).parent / "sharing.json"


@pytest.fixture(params=["sql", "jsonl"])
async def url(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    kept = {"run_events": request.param}
    application = Application.from_file(
        CONFIG, data_dir=current_data(tmp_path / "d"), port=0, shutdown_grace_seconds=0.1, **kept
    )
    async with serving(application) as url:
        yield url


@pytest.fixture
def alice(client_of: ClientOf) -> Any:
    return client_of(ALICE)


@pytest.fixture
def bob(client_of: ClientOf) -> Any:
    return client_of(BOB)


@pytest.fixture
def eve(client_of: ClientOf) -> Any:
    return client_of(EVE)


@pytest.fixture
async def thread(alice: Any) -> str:
    """A thread of alice's, shared within acme, with a run of hers."""
    thread_id: str = (await alice.threads.create())["thread_id"]
    await alice.runs.wait(thread_id, "clerk", input={})
    return thread_id


def as_(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_users_of_one_organisation_share_a_thread(alice: Any, bob: Any, thread: str) -> None:
    assert (await bob.threads.get(thread))["values"] == {"said": ["alice"]}
    # Both create runs on it, and each finds the other's run and its result.
    assert await bob.runs.wait(thread, "clerk", input={}) == {"said": ["alice", "bob"]}
    for who in (alice, bob):
        runs = await who.runs.list(thread)
        assert len(runs) == 2
        for run in runs:
            assert (await who.runs.get(thread, run["run_id"]))["status"] == "success"
            assert (await who.runs.join(thread, run["run_id"]))["said"][0] == "alice"
        assert (await who.threads.get_state(thread))["values"] == {"said": ["alice", "bob"]}
        assert len(await who.threads.get_history(thread)) == 6
        assert [one["thread_id"] for one in await who.threads.search()] == [thread]
        assert [one["thread_id"] for one in await who.threads.search(metadata={"org": "acme"})] == [thread]
        assert await who.threads.count() == 1
    # Store items stay private.
    for who, name in ((alice, "alice"), (bob, "bob")):
        kept = (await who.store.search_items(("notes",)))["items"]
        assert [(item["key"], item["value"]) for item in kept] == [(name, {"by": name})]
    # Both update it.
    await bob.threads.update(thread, metadata={"topic": "rain"})
    await bob.threads.update_state(thread, {"said": ["by hand"]})
    assert (await alice.threads.get(thread))["metadata"]["topic"] == "rain"
    assert (await alice.threads.get_state(thread))["values"] == {"said": ["alice", "bob", "by hand"]}


async def test_users_stream_and_cancel_each_other_s_runs(alice: Any, bob: Any, thread: str) -> None:
    run = await alice.runs.create(thread, "clerk", input={"wait": 0.5}, stream_mode="values", stream_resumable=True)
    told = [part async for part in bob.runs.join_stream(thread, run["run_id"], last_event_id="-1")]
    assert told[0].event == "metadata"
    assert told[-1].data["said"] == ["alice", "alice"]
    long = await bob.runs.create(thread, "clerk", input={"wait": 60})
    waiting = await bob.runs.create(thread, "clerk", input={})
    await alice.runs.cancel(thread, waiting["run_id"])
    await alice.runs.cancel(thread, long["run_id"], wait=True)
    assert {(await bob.runs.get(thread, one["run_id"]))["status"] for one in (long, waiting)} == {"interrupted"}
    again = await bob.runs.create(thread, "clerk", input={"wait": 60})
    await alice.runs.cancel_many(thread_id=thread, run_ids=[again["run_id"]])
    assert (await alice.runs.join(thread, again["run_id"])) is not None
    # A later run of one user replaces a run of the other.
    held = await alice.runs.create(thread, "clerk", input={"wait": 60})
    await bob.runs.wait(thread, "clerk", input={"wait": 0}, multitask_strategy="rollback")
    with pytest.raises(NotFoundError):
        await alice.runs.get(thread, held["run_id"])
    await bob.runs.delete(thread, run["run_id"])
    assert run["run_id"] not in [one["run_id"] for one in await alice.runs.list(thread)]


async def test_user_resumes_the_interrupted_run_of_another_user(alice: Any, bob: Any) -> None:
    thread = (await alice.threads.create())["thread_id"]
    asked = await alice.runs.wait(thread, "asker", input={})
    assert asked["__interrupt__"][0]["value"] == {"question": "May I?"}
    assert [one["thread_id"] for one in await bob.threads.search(status="interrupted")] == [thread]
    # The resuming run is bob's, and so are its actions.
    assert (await bob.runs.wait(thread, "asker", command={"resume": "yes"}))["said"] == ["bob: yes"]
    assert (await alice.threads.get(thread))["status"] == "idle"


async def test_event_protocol_streams_and_starts_runs_of_both_users(
    url: str, http: httpx.AsyncClient, thread: str
) -> None:
    async def command(who: str, method: str, **params: Any) -> Any:
        body = {"id": 1, "method": method, "params": params}
        answered = await http.post(f"/threads/{thread}/commands", json=body, headers=as_(who))
        return answered.json()

    body = {"channels": ["values", "lifecycle"]}
    async with http.stream("POST", f"/threads/{thread}/stream/events", json=body, headers=as_(ALICE)) as answer:
        started = await command(BOB, "run.start", assistant_id="clerk", input={})
        assert started["type"] == "success", started
        async for line in answer.aiter_lines():
            if line.startswith("data:") and json.loads(line[5:])["params"]["data"] == {"said": ["alice", "bob"]}:
                break
    assert (await command(ALICE, "state.get"))["result"]["values"] == {"said": ["alice", "bob"]}
    assert (await command(EVE, "state.get"))["error"] == "no_such_run"
    assert (await command(EVE, "run.start", assistant_id="clerk", input={}))["error"] == "unknown_error"
    address = f"{url.replace('http', 'ws', 1)}/threads/{thread}/stream/events"
    async with connect(address, additional_headers=as_(BOB)) as socket:
        # The grant of a run is limited to that run: the next subscription uses the access of the socket.
        start = {"id": 1, "method": "run.start", "params": {"assistant_id": "asker", "input": {}}}
        await socket.send(json.dumps(start))
        assert json.loads(await socket.recv())["type"] == "success"
        await socket.send(json.dumps({"id": 2, "method": "subscription.subscribe", "params": {"channels": ["input"]}}))
        async with asyncio.timeout(60):
            while (told := json.loads(await socket.recv())).get("method") != "input.requested":
                pass
    interrupt_id = told["params"]["data"]["interrupt_id"]
    answered = await command(ALICE, "input.respond", interrupt_id=interrupt_id, namespace=[], response="yes")
    assert answered["type"] == "success", answered
    joined = await http.get(f"/threads/{thread}/runs/{answered['result']['run_id']}/join", headers=as_(BOB))
    assert joined.json()["said"][-1] == "alice: yes"


async def test_thread_stream_shows_runs_of_the_other_user(alice: Any, bob: Any, thread: str) -> None:
    joined = await bob.threads.join_stream(thread, stream_mode=["lifecycle"])
    run = await alice.runs.create(thread, "clerk", input={"wait": 0.1})
    async with asyncio.timeout(60):
        async for part in joined:
            if part.event == "metadata" and part.data.get("status") == "run_done":
                break
    assert part.data["run_id"] == run["run_id"]


async def test_run_events_are_readable_by_both_users(
    alice: Any, bob: Any, http: httpx.AsyncClient, thread: str
) -> None:
    await bob.runs.wait(thread, "clerk", input={})
    runs = [run["run_id"] for run in await alice.runs.list(thread)]
    for who in (ALICE, BOB):
        for run_id in runs:
            found = (await http.get(f"/threads/{thread}/runs/{run_id}/events", headers=as_(who))).json()
            assert {event["run_id"] for event in found["data"]} == {run_id}


async def test_copy_of_a_shared_thread_is_owned_by_its_maker_and_shared(alice: Any, bob: Any, thread: str) -> None:
    copy = (await bob.threads.copy(thread))["thread_id"]
    assert await bob.runs.wait(copy, "clerk", input={}) == {"said": ["alice", "bob"]}
    assert (await alice.threads.get_state(copy))["values"] == {"said": ["alice", "bob"]}
    assert (await alice.threads.get_state(thread))["values"] == {"said": ["alice"]}


async def test_users_delete_and_prune_each_other_s_threads(alice: Any, bob: Any, thread: str) -> None:
    run = await bob.runs.create(thread, "clerk", input={"wait": 60})
    assert (await bob.threads.prune([thread, str(uuid.uuid4())], strategy="delete"))["pruned_count"] == 1
    for who in (alice, bob):
        with pytest.raises(NotFoundError):
            await who.threads.get(thread)
        with pytest.raises(NotFoundError):
            await who.runs.get(thread, run["run_id"])
    other = (await alice.threads.create())["thread_id"]
    await bob.runs.wait(other, "clerk", input={})
    await alice.threads.delete(other)
    assert await bob.threads.search() == []


async def test_filter_grants_only_the_action_it_was_returned_for(client_of: ClientOf, thread: str) -> None:
    careful, own_runs = client_of("bob acme careful"), client_of("bob acme own-runs")
    tries: Tries = (
        lambda: careful.threads.delete(thread),
        lambda: own_runs.runs.create(thread, "clerk", input={}),
        lambda: own_runs.runs.create(thread, "clerk", input={}, if_not_exists="create"),
    )
    for forbidden in tries:
        with pytest.raises(NotFoundError):
            await forbidden()
    assert (await careful.threads.prune([thread], strategy="delete"))["pruned_count"] == 0
    assert len(await own_runs.runs.list(thread)) == 1


async def test_command_grants_no_more_access_than_a_run(http: httpx.AsyncClient, thread: str) -> None:
    body = {"id": 1, "method": "run.start", "params": {"assistant_id": "clerk", "input": {}}}
    told = await http.post(f"/threads/{thread}/commands", json=body, headers=as_("bob acme own-runs"))
    assert told.json()["error"] == "unknown_error"
    assert "404" in told.json()["message"]


async def test_thread_is_shared_with_its_members_only(client_of: ClientOf) -> None:
    alice, bob, carol = (client_of(f"{name} acme members") for name in ("alice", "bob", "carol"))
    thread = (await alice.threads.create(metadata={"members": ["alice", "bob"]}))["thread_id"]
    assert await bob.runs.wait(thread, "clerk", input={}) == {"said": ["bob"]}
    with pytest.raises(NotFoundError):
        await carol.threads.get(thread)
    assert await carol.threads.search() == []
    await alice.threads.update(thread, metadata={"members": ["alice", "carol"]})
    assert (await carol.threads.get_state(thread))["values"] == {"said": ["bob"]}
    with pytest.raises(NotFoundError):
        await bob.threads.get_state(thread)


async def test_each_run_of_a_batch_has_its_own_access(alice: Any, bob: Any, eve: Any, thread: str) -> None:
    own = (await bob.threads.create())["thread_id"]
    batch: list[Any] = [{"thread_id": each, "assistant_id": "clerk", "input": {}} for each in (thread, own)]
    made = await bob.runs.create_batch(batch)
    assert {run["thread_id"] for run in made} == {thread, own}
    hers = (await eve.threads.create())["thread_id"]
    mixed: list[Any] = [{"thread_id": each, "assistant_id": "clerk", "input": {}} for each in (hers, thread)]
    with pytest.raises(NotFoundError):
        await eve.runs.create_batch(mixed)
    assert await eve.runs.list(hers) == []


async def test_user_of_another_organisation_finds_nothing(
    http: httpx.AsyncClient, alice: Any, eve: Any, thread: str
) -> None:
    paths = (await http.get("/openapi.json")).json()["paths"]
    routes: list[Route] = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    (run,) = await alice.runs.list(thread)
    checkpoint = (await alice.threads.get_state(thread))["checkpoint"]["checkpoint_id"]
    ids = {"thread_id": thread, "run_id": run["run_id"], "checkpoint_id": checkpoint}
    asked = [*of_threads(routes), ("GET", "/threads/{thread_id}/stream")]
    assert len(asked) > 25
    answers = {route: (await ask(http, route, ids, as_(EVE))).status_code for route in asked}
    assert {route: status for route, status in answers.items() if status != 404} == {}
    before = await alice.threads.get(thread)
    assert await eve.threads.search() == []
    assert await eve.threads.search(metadata={"org": "acme"}) == []
    assert await eve.threads.count() == 0
    assert (await http.get("/runs", headers=as_(EVE))).json() == []
    assert (await eve.threads.prune([thread], strategy="delete"))["pruned_count"] == 0
    with pytest.raises(APIStatusError):
        await eve.runs.cancel_many(thread_id=thread, run_ids=[run["run_id"]])
    with pytest.raises(APIStatusError):
        await eve.threads.create(thread_id=thread, if_exists="do_nothing")
    assert await alice.threads.get(thread) == before
    # Permitted users can.
    for route in of_threads(routes):
        # These are one file and one message to a run, and the thread has neither.
        if route[0] == "GET" and not route[1].endswith(("/files/content", "/steering/{message_id}")):
            assert (await ask(http, route, ids, as_(BOB))).status_code == 200, route
    assert (await http.get("/runs", headers=as_(BOB))).json()[0]["run_id"] == run["run_id"]


async def test_handler_for_threads_only_shares_no_assistants(alice: Any, bob: Any) -> None:
    made = await alice.assistants.create("clerk", name="Hers", metadata={"org": "acme"})
    cron = await alice.crons.create("clerk", schedule="0 0 29 2 *", metadata={"org": "acme"})
    tries: Tries = (
        lambda: bob.assistants.get(made["assistant_id"]),
        lambda: bob.assistants.update(made["assistant_id"], name="His"),
        lambda: bob.assistants.delete(made["assistant_id"]),
        lambda: bob.assistants.get_versions(made["assistant_id"]),
        lambda: bob.runs.create(None, made["assistant_id"], input={}),
        lambda: bob.crons.update(cron["cron_id"], enabled=False),
        lambda: bob.crons.delete(cron["cron_id"]),
    )
    for attempt in tries:
        with pytest.raises(NotFoundError):
            await attempt()
    assert made["assistant_id"] not in [one["assistant_id"] for one in await bob.assistants.search()]
    assert await bob.crons.search() == []
    assert await bob.crons.count() == 0


async def test_assistants_and_crons_are_shared_by_their_own_handlers(client_of: ClientOf) -> None:
    alice, bob, eve = (client_of(f"{who} everything") for who in (ALICE, BOB, EVE))
    made = await alice.assistants.create("clerk", name="Ours", metadata={"org": "acme"})
    name = made["assistant_id"]
    thread = (await bob.threads.create())["thread_id"]
    assert await bob.runs.wait(thread, name, input={}) == {"said": ["bob"]}
    cron = await bob.crons.create_for_thread(thread, name, schedule="0 0 29 2 *", metadata={"org": "acme"})
    changed = await alice.crons.update(cron["cron_id"], schedule="0 1 29 2 *")
    assert (changed["schedule"], changed["user_id"]) == ("0 1 29 2 *", "bob")
    assert [one["cron_id"] for one in await alice.crons.search()] == [cron["cron_id"]]
    assert (await bob.assistants.update(name, name="Shared"))["version"] == 2
    assert (await bob.assistants.set_latest(name, 1))["version"] == 1
    assert [one["assistant_id"] for one in await bob.assistants.search()] == [name]
    tries: Tries = (
        lambda: eve.assistants.get(name),
        lambda: eve.runs.create(None, name, input={}),
        lambda: eve.crons.delete(cron["cron_id"]),
    )
    for nothing in tries:
        with pytest.raises(NotFoundError):
            await nothing()
    assert await eve.assistants.search() == await eve.crons.search() == []
    await alice.crons.delete(cron["cron_id"])
    await bob.assistants.delete(name)
    with pytest.raises(NotFoundError):
        await alice.assistants.get(name)
