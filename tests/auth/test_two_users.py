"""Two users of one server with their own clients: handlers of langgraph.json decide about access."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import APIStatusError, NotFoundError, PermissionDeniedError

from .conftest import ClientOf


async def test_request_without_token_gets_the_error_of_the_handler(http: httpx.AsyncClient) -> None:
    for path in ("/ok", "/info", "/docs", "/openapi.json"):
        assert (await http.get(path)).status_code == 200
    refused = await http.post("/threads", json={})
    assert (refused.status_code, refused.json()) == (401, {"detail": "Invalid token"})
    assert refused.headers["www-authenticate"] == "Bearer"
    other = await http.post("/threads", json={}, headers={"x-api-key": "teapot-token"})
    assert (other.status_code, other.json(), other.headers["x-kind"]) == (418, {"detail": "I am a teapot"}, "teapot")


async def test_created_resources_are_stamped_and_visible_to_their_owner_only(alice: Any, bob: Any) -> None:
    thread = await alice.threads.create(metadata={"mine": 1, "owner": "bob"})
    assert thread["metadata"] == {"mine": 1, "owner": "alice"}
    run = await alice.runs.create(thread["thread_id"], "teller", input={})
    await alice.runs.join(thread["thread_id"], run["run_id"])
    assert (await alice.runs.get(thread["thread_id"], run["run_id"]))["metadata"]["owner"] == "alice"
    for ask in (
        bob.threads.get(thread["thread_id"]),
        bob.threads.get_state(thread["thread_id"]),
        bob.threads.update(thread["thread_id"], metadata={"x": 1}),
        bob.runs.get(thread["thread_id"], run["run_id"]),
        bob.runs.list(thread["thread_id"]),
        bob.runs.cancel(thread["thread_id"], run["run_id"]),
        bob.runs.create(thread["thread_id"], "teller", input={}, if_not_exists="create"),
    ):
        with pytest.raises(NotFoundError):
            await ask
    assert await bob.threads.search() == []
    assert await bob.threads.count() == 0
    assert [found["thread_id"] for found in await alice.threads.search()] == [thread["thread_id"]]


async def test_graph_receives_its_authenticated_user(alice: Any) -> None:
    thread = await alice.threads.create()
    forged = {"langgraph_auth_user": {"identity": "root"}, "langgraph_auth_user_id": "root", "user_id": "root"}
    observed = (await alice.runs.wait(thread["thread_id"], "teller", input={}, config={"configurable": forged}))[
        "observed"
    ]
    assert observed["user_id"] == observed["langgraph_auth_user_id"] == "alice"
    assert observed["langgraph_auth_permissions"] == ["write"]
    assert observed["langgraph_auth_user"] == {
        "identity": "alice",
        "display_name": "Alice",
        "permissions": ["write"],
        "is_authenticated": True,
        "plan": {"tier": "gold"},
    }
    # The run is executed with the values that a handler set.
    assert observed["tags"] == ["stamped"]


async def test_authenticated_user_is_not_exposed_elsewhere(alice: Any, http: httpx.AsyncClient) -> None:
    thread = (await alice.threads.create())["thread_id"]
    modes = ["checkpoints", "debug", "messages-tuple"]
    parts = [part async for part in alice.runs.stream(thread, "teller", input={}, stream_mode=modes)]
    (run,) = await alice.runs.list(thread)
    shown = [*(part.data for part in parts if part.event == "checkpoints"), run]
    shown += [
        part.data["payload"].get(name) for part in parts if part.event == "debug" for name in ("config", "metadata")
    ]
    shown += [state["metadata"] for state in await alice.threads.get_history(thread)]
    texts = [str({**one, "values": None, "tasks": None}) for one in shown if one]
    assert texts
    assert not [text for text in texts if "langgraph_auth" in text or "gold" in text]


async def test_thread_of_a_stateless_run_belongs_to_its_creator(alice: Any, bob: Any, client_of: ClientOf) -> None:
    run = await alice.runs.create(None, "teller", input={"wait": 0.5})
    ask = f"/runs/{run['run_id']}"
    assert (await alice.http.get(ask))["run_id"] == run["run_id"]
    for other in (bob, client_of("guest-token")):
        with pytest.raises(NotFoundError):
            await other.http.get(ask)
    assert (await alice.http.get(f"{ask}/join"))["observed"]["user_id"] == "alice"


async def test_filter_narrows_own_resources(alice: Any, client_of: ClientOf) -> None:
    guest = client_of("guest-token")
    public = (await alice.threads.create(metadata={"visibility": "public"}))["thread_id"]
    private = (await alice.threads.create())["thread_id"]
    assert (await guest.threads.get(public))["thread_id"] == public
    with pytest.raises(NotFoundError):
        await guest.threads.get(private)
    with pytest.raises(NotFoundError):
        await guest.runs.create(private, "teller", input={})
    assert [one["thread_id"] for one in await guest.threads.search()] == [public]
    assert await guest.threads.count() == 1
    # Asking for more than the grant finds nothing, and does not bypass it.
    assert await guest.threads.search(metadata={"visibility": "private"}) == []
    assert [one["thread_id"] for one in await guest.threads.search(metadata={"owner": "alice"})] == [public]
    with pytest.raises(APIStatusError) as taken:
        await guest.threads.create(thread_id=private, if_exists="do_nothing")
    assert taken.value.status_code == 409
    assert await alice.http.get("/runs") == await guest.http.get("/runs") == []


async def test_most_specific_handler_decides(alice: Any, bob: Any, client_of: ClientOf) -> None:
    reader = client_of("reader-token")
    thread = (await reader.threads.create())["thread_id"]
    run = await reader.runs.create(thread, "teller", input={"wait": 0.3})
    with pytest.raises(PermissionDeniedError):
        await reader.threads.update(thread, metadata={"x": 1})
    # A cancel is an update of the thread.
    with pytest.raises(PermissionDeniedError):
        await reader.runs.cancel(thread, run["run_id"])
    await reader.runs.join(thread, run["run_id"])
    of_bob = (await bob.threads.create())["thread_id"]
    with pytest.raises(PermissionDeniedError, match="bob may not delete"):
        await bob.threads.delete(of_bob)
    await alice.threads.delete(thread)
    with pytest.raises(NotFoundError):
        await alice.threads.get(thread)


async def test_assistant_search_uses_its_own_filter(alice: Any) -> None:
    assert [one["graph_id"] for one in await alice.assistants.search()] == ["teller"]
    assert (await alice.assistants.get_schemas("teller"))["graph_id"] == "teller"


async def test_item_is_stored_in_the_rewritten_namespace(alice: Any) -> None:
    await alice.store.put_item(["notes"], "k", {"x": 1})
    item = await alice.store.get_item(["notes"], "k")
    assert (item["namespace"], item["value"]) == (["room", "notes"], {"x": 1})
    found = await alice.store.search_items(["notes"])
    assert [one["key"] for one in found["items"]] == ["k"]
    assert (await alice.store.list_namespaces(prefix=["notes"]))["namespaces"] == [["room", "notes"]]
    assert (await alice.store.list_namespaces())["namespaces"] == [["room", "notes"]]
    await alice.store.put_item(["notes"], "words", {"text": "a quick fox"}, ttl=60)
    assert [item["key"] for item in (await alice.store.search_items(["notes"], query="fox"))["items"]] == ["words"]
    await alice.store.delete_item(["notes"], "words")
    await alice.store.delete_item(["notes"], "k")
    assert (await alice.store.search_items([]))["items"] == []


async def test_users_sent_to_one_namespace_share_its_items(alice: Any, bob: Any) -> None:
    await alice.store.put_item(["notes"], "k", {"x": 1})
    await bob.store.put_item(["notes"], "words", {"text": "a quick fox"}, ttl=60)
    for who in (alice, bob):
        assert (await who.store.get_item(["notes"], "k"))["value"] == {"x": 1}
        assert (await who.store.get_item(["notes"], "words", refresh_ttl=True))["key"] == "words"
        assert [one["key"] for one in (await who.store.search_items(["notes"]))["items"]] == ["words", "k"]
        assert [one["key"] for one in (await who.store.search_items(["notes"], query="fox"))["items"]] == ["words"]
        assert (await who.store.list_namespaces())["namespaces"] == [["room", "notes"]]
    await bob.store.put_item(["notes"], "k", {"x": 2})
    assert (await alice.store.get_item(["notes"], "k"))["value"] == {"x": 2}
    await bob.store.delete_item(["notes"], "k")
    assert await alice.store.get_item(["notes"], "k") is None


async def test_each_run_of_a_batch_is_authorized(alice: Any, bob: Any) -> None:
    mine, theirs = await alice.threads.create(), await bob.threads.create()
    runs = await alice.runs.create_batch(
        [{"assistant_id": "teller", "input": {}, "thread_id": mine["thread_id"]}, {"assistant_id": "teller"}]
    )
    assert [run["metadata"]["owner"] for run in runs] == ["alice", "alice"]
    with pytest.raises(NotFoundError):
        await alice.runs.create_batch([{"assistant_id": "teller"}, {"assistant_id": "teller", **theirs}])


async def test_blocking_handler_delays_user_code_but_not_the_server(client_of: ClientOf, alice: Any) -> None:
    """As on the reference server, all handlers share a loop with all graphs; requests that need neither do not wait."""
    slow = asyncio.create_task(client_of("slow-token").threads.create())
    await asyncio.sleep(0.3)
    for _ in range(3):
        assert (await alice.http.client.get("/ok")).json()["ok"] is True
    assert not slow.done()
    others = [alice.threads.create(thread_id=str(uuid.uuid4())) for _ in range(3)]
    assert [thread["metadata"] for thread in await asyncio.gather(*others)] == [{"owner": "alice"}] * 3
    assert (await slow)["metadata"] == {"owner": "alice"}


async def test_run_that_an_injected_message_starts_has_the_changes_of_the_handlers(
    alice: Any, http: httpx.AsyncClient
) -> None:
    thread = (await alice.threads.create())["thread_id"]
    first = await alice.runs.create(thread, "teller", input={"wait": 0})
    await alice.runs.join(thread, first["run_id"])
    sent = await http.post(
        f"/threads/{thread}/runs/{first['run_id']}/inject",
        json={"message": "hello"},
        headers={"Authorization": "Bearer alice-token"},
    )
    assert sent.status_code == 200, sent.text
    run = await alice.runs.get(thread, sent.json()["run_id"])
    assert run["run_id"] != first["run_id"]
    assert (run["metadata"].get("owner"), run["kwargs"]["config"].get("tags")) == ("alice", ["stamped"])
