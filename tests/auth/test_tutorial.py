"""Auth handlers in the style of LangGraph's tutorial: private conversations with graphs shared by all users."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError, PermissionDeniedError

from runstead.resources.assistants import assistant_id_of
from tests.servers.profiles import PROFILES, served

FOLDER = Path(__file__).parent
YEARLY = "0 0 29 2 *"


def user(url: str, number: int) -> Any:
    return get_client(url=url, api_key=None, headers={"Authorization": f"Bearer user{number}-token"})


@pytest.fixture(params=PROFILES)
async def url(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with served(FOLDER / "tutorial_one.json", tmp_path, request) as url:
        yield url


@pytest.fixture(params=PROFILES)
async def scoped_url(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with served(FOLDER / "tutorial_scoped.json", tmp_path, request) as url:
        yield url


async def test_each_user_runs_graphs_on_own_threads(url: str) -> None:
    alice, bob = user(url, 1), user(url, 2)
    assistant = await alice.assistants.create("agent")
    thread = (await alice.threads.create())["thread_id"]
    for name in ("agent", assistant_id_of("agent"), assistant["assistant_id"]):
        assert (await alice.runs.wait(thread, name, input={}))["observed"]["langgraph_auth_user_id"] == "user1"
        assert (await alice.runs.wait(None, name, input={}))["observed"]["langgraph_auth_user_id"] == "user1"
    parts = [part.event async for part in alice.runs.stream(thread, "agent", input={}, stream_mode="values")]
    assert parts[0] == "metadata"
    assert "error" not in parts
    batch = await alice.runs.create_batch([{"assistant_id": "agent", "input": {}}])
    assert len(batch) == 1
    own = (await bob.threads.create())["thread_id"]
    await bob.runs.wait(own, "agent", input={})
    for call in (
        bob.threads.get(thread),
        bob.runs.create(thread, "agent", input={}),
        bob.runs.create(thread, "agent", input={}, if_not_exists="create"),
        bob.runs.create(own, assistant["assistant_id"], input={}),
        bob.runs.create(None, assistant["assistant_id"], input={}),
        bob.crons.create(assistant["assistant_id"], schedule=YEARLY, input={}),
    ):
        with pytest.raises(NotFoundError):
            await call
    assert {one["thread_id"] for one in await alice.threads.search()} >= {thread}
    assert [one["thread_id"] for one in await bob.threads.search()] == [own]
    assert (await bob.threads.get(own))["metadata"]["owner"] == "user2"


async def test_default_assistants_can_be_scheduled_and_have_no_owner(url: str) -> None:
    alice = user(url, 1)
    thread = (await alice.threads.create())["thread_id"]
    crons = [
        await alice.crons.create("agent", schedule=YEARLY, input={}),
        await alice.crons.create_for_thread(thread, "agent", schedule=YEARLY, input={}),
    ]
    assert {cron["metadata"]["owner"] for cron in crons} == {"user1"}
    changed = await alice.crons.update(crons[0]["cron_id"], schedule="0 0 1 1 *")
    assert changed["schedule"] == "0 0 1 1 *"
    # Default assistants have no owner: a filter by owner does not match them, here as on the reference server.
    assert await alice.assistants.search() == []
    with pytest.raises(NotFoundError):
        await alice.assistants.get(assistant_id_of("agent"))


async def test_event_protocol_commands_run_the_graphs(url: str) -> None:
    alice, bob = user(url, 1), user(url, 2)
    thread = (await alice.threads.create())["thread_id"]
    for client, is_let in ((alice, True), (bob, False)):
        command = {"id": 1, "method": "run.start", "params": {"assistant_id": "agent", "input": {}}}
        try:
            observed = await client.http.post(f"/threads/{thread}/commands", json=command)
        except NotFoundError:
            observed = {"type": "refused"}
        assert (observed["type"] == "success") is is_let, observed
    await alice.runs.join(thread, (await alice.runs.list(thread))[0]["run_id"])
    assert (await alice.threads.get_state(thread))["values"]["observed"]["langgraph_auth_user_id"] == "user1"


async def test_graphs_stay_runnable_when_a_handler_denies_assistants(scoped_url: str) -> None:
    alice, bob = user(scoped_url, 1), user(scoped_url, 2)
    for call in (
        alice.assistants.create("agent"),
        alice.assistants.search(),
        alice.assistants.get(assistant_id_of("agent")),
    ):
        with pytest.raises(PermissionDeniedError, match="User lacks the required permissions"):
            await call
    thread = (await alice.threads.create())["thread_id"]
    assert (await alice.runs.wait(thread, "agent", input={}))["observed"]["langgraph_auth_user_id"] == "user1"
    assert await alice.crons.create("agent", schedule=YEARLY, input={})
    with pytest.raises(NotFoundError):
        await bob.threads.get(thread)
    # The handler is called for a missing assistant, as for one of another user.
    with pytest.raises(PermissionDeniedError):
        await alice.runs.create(thread, "01a22e6e-6972-768c-987f-111cd7c852e4", input={})


async def test_items_are_stored_under_the_label_of_the_user(scoped_url: str) -> None:
    alice, bob = user(scoped_url, 1), user(scoped_url, 2)
    await alice.store.put_item(("user1", "notes"), "k", {"x": 1})
    assert (await alice.store.get_item(("user1", "notes"), "k"))["value"] == {"x": 1}
    for call in (
        bob.store.get_item(("user1", "notes"), "k"),
        bob.store.search_items(("user1",)),
        bob.store.put_item(("user1", "notes"), "k", {"x": 2}),
        bob.store.delete_item(("user1", "notes"), "k"),
        bob.store.list_namespaces(["user1"]),
    ):
        with pytest.raises(PermissionDeniedError, match="Not authorized"):
            await call
    assert (await alice.store.search_items(("user1",)))["items"][0]["value"] == {"x": 1}


async def test_items_stay_private_under_a_catch_all_handler(url: str) -> None:
    alice, bob = user(url, 1), user(url, 2)
    await alice.store.put_item(("notes",), "k", {"x": 1})
    assert (await alice.store.get_item(("notes",), "k"))["value"] == {"x": 1}
    assert [item["key"] for item in (await alice.store.search_items(("notes",)))["items"]] == ["k"]
    assert (await bob.store.search_items(("notes",)))["items"] == []
