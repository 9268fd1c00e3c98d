"""The user decides about access: without an actor no data is reached, and resources of other users are not found."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import httpx
import pytest

from runstead.auth.none import LOCAL_ACTOR, NoAuthentication
from runstead.bootstrap.application import Application
from runstead.gateway.api import create_api
from runstead.runtime.actor_context import ActorContext, get_actor_context
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Forbidden, Unauthenticated

HELLO = {"messages": [{"role": "human", "content": "hi there"}]}


class ByName:
    """Authenticate by a header; without it, refuse."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        if not (name := credentials.headers.get("x-user")):
            raise Unauthenticated("Say who you are")
        return ActorContext(user_id=name, auth_source="header")


@pytest.fixture
async def door(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_api(application, authenticator=ByName()))
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


ALICE, BOB = {"x-user": "alice"}, {"x-user": "bob"}


async def test_unauthenticated_request_reaches_open_routes_only(door: httpx.AsyncClient) -> None:
    for path in ("/", "/ok", "/ready", "/info", "/docs", "/openapi.json"):
        assert (await door.get(path)).status_code == 200
    refused = await door.post("/threads", json={})
    assert (refused.status_code, refused.json()) == (401, {"detail": "Say who you are"})


async def test_resources_of_another_user_are_not_found(door: httpx.AsyncClient) -> None:
    thread_id = (await door.post("/threads", json={"metadata": {"mark": 1}}, headers=ALICE)).json()["thread_id"]
    body = {"assistant_id": "agent", "input": HELLO, "stream_resumable": True}
    await door.post(f"/threads/{thread_id}/runs/wait", json=body, headers=ALICE)
    (run,) = (await door.get(f"/threads/{thread_id}/runs", headers=ALICE)).json()
    state = (await door.get(f"/threads/{thread_id}/state", headers=ALICE)).json()
    place, of_run = f"/threads/{thread_id}", f"/threads/{thread_id}/runs/{run['run_id']}"
    await door.post(f"{place}/files", files={"file": ("a.txt", b"1")}, headers=ALICE)
    await door.put(f"{of_run}/feedback", json={"score": 1}, headers=ALICE)
    await door.post("/memory/files", files={"file": ("a.txt", b"1")}, headers=ALICE)
    item = {"namespace": ["a"], "key": "k", "value": {"x": 1}}
    await door.put("/store/items", json=item, headers=ALICE)
    asked = [
        ("GET", place, None),
        ("GET", f"{place}?include=ttl", None),
        ("POST", f"{place}/copy", None),
        ("GET", f"{place}/stream", None),
        ("PATCH", place, {"metadata": {"x": 1}}),
        ("DELETE", place, None),
        ("GET", f"{place}/state", None),
        ("POST", f"{place}/state", {"values": HELLO}),
        ("GET", f"{place}/state/{state['checkpoint_id']}", None),
        ("POST", f"{place}/state/checkpoint", {"checkpoint": state["checkpoint"]}),
        ("GET", f"{place}/history", None),
        ("POST", f"{place}/history", {}),
        ("GET", f"{place}/messages", None),
        ("GET", f"{place}/files", None),
        ("GET", f"{place}/files/content?path=uploads/a.txt", None),
        ("GET", f"{place}/files/archive", None),
        ("POST", f"{place}/files", None),
        ("DELETE", f"{place}/files?path=uploads/a.txt", None),
        ("GET", "/memory/files/content?path=memory/a.txt", None),
        ("DELETE", "/memory/files?path=memory/a.txt", None),
        ("GET", f"{place}/runs", None),
        ("POST", f"{place}/runs", body),
        ("POST", f"{place}/runs/stream", body),
        ("POST", f"{place}/runs/wait", {**body, "if_not_exists": "create"}),
        ("GET", of_run, None),
        ("GET", f"{of_run}/join", None),
        ("GET", f"{of_run}/stream", None),
        ("GET", f"{of_run}/messages", None),
        ("GET", f"{of_run}/events", None),
        ("GET", f"{of_run}/feedback", None),
        ("PUT", f"{of_run}/feedback", {"score": 0}),
        ("DELETE", f"{of_run}/feedback", None),
        ("POST", f"{of_run}/cancel", None),
        ("POST", f"{of_run}/retry", None),
        ("DELETE", of_run, None),
        ("GET", f"/runs/{run['run_id']}", None),
        ("GET", f"/runs/{run['run_id']}/join", None),
        ("GET", f"/runs/{run['run_id']}/stream", None),
        ("POST", f"/runs/{run['run_id']}/retry", None),
    ]
    answers = {
        f"{method} {path}": (await door.request(method, path, json=body, headers=BOB)).status_code
        for method, path, body in asked
    }
    assert {name: status for name, status in answers.items() if status != 404} == {}
    assert (await door.post("/threads/search", json={}, headers=BOB)).json() == []
    assert (await door.post("/threads/count", json={}, headers=BOB)).json() == 0
    assert (await door.get("/runs", headers=BOB)).json() == []
    assert (await door.post("/feedback/search", json={}, headers=BOB)).json() == []
    assert (await door.get("/memory/files", headers=BOB)).json() == []
    assert b"a.txt" not in (await door.get("/memory/files/archive", headers=BOB)).content
    assert (await door.get("/store/items?namespace=a&key=k", headers=BOB)).json() is None
    assert (await door.post("/store/items/search", json={"namespace_prefix": []}, headers=BOB)).json() == {"items": []}
    assert (await door.post("/store/namespaces", json={}, headers=BOB)).json() == {"namespaces": []}
    for strategy in ("delete", "keep_latest"):
        pruning = {"thread_ids": [thread_id], "strategy": strategy}
        pruned = await door.post("/threads/prune", json=pruning, headers=BOB)
        assert pruned.json() == {"pruned_count": 0}
    # An id taken by another user cannot be used, and its owner is not disclosed.
    assert (await door.post("/threads", json={"thread_id": thread_id}, headers=BOB)).status_code == 409
    # Alice's data is unchanged.
    assert (await door.get(of_run, headers=ALICE)).json()["status"] == "success"
    assert len((await door.get(f"{place}/files", headers=ALICE)).json()) == 1
    assert len((await door.get("/memory/files", headers=ALICE)).json()) == 1
    assert (await door.get(f"{of_run}/feedback", headers=ALICE)).json()[0]["score"] == 1
    assert (await door.get("/store/items?namespace=a&key=k", headers=ALICE)).json()["value"] == {"x": 1}


async def test_graphs_are_available_to_all_users(door: httpx.AsyncClient) -> None:
    for who in (ALICE, BOB):
        assert (await door.get("/assistants/agent", headers=who)).status_code == 200


async def test_run_acts_for_its_creator(door: httpx.AsyncClient) -> None:
    for number, who in enumerate((ALICE, BOB, ALICE)):
        answer = await door.post("/runs/wait", json={"assistant_id": "memory", "input": {}}, headers=who)
        # Each user has a separate counter.
        assert answer.json()["done"] == (2 if number == 2 else 1)


async def test_actor_is_bound_for_the_request_alone(door: httpx.AsyncClient) -> None:
    await door.post("/threads", json={}, headers=ALICE)
    assert get_actor_context() is None


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", None])
async def test_loopback_client_is_allowed_without_authentication(peer: str | None) -> None:
    assert await NoAuthentication().authenticate(Credentials("GET", "/", {}, client=peer)) == LOCAL_ACTOR


@pytest.mark.parametrize("peer", ["192.168.1.7", "8.8.8.8", "::ffff:10.0.0.1", "fe80::1", "example.org", ""])
async def test_remote_client_without_authentication_needs_the_setting(peer: str) -> None:
    credentials = Credentials("GET", "/", {}, client=peer)
    with pytest.raises(Forbidden, match="serves only this machine"):
        await NoAuthentication().authenticate(credentials)
    assert await NoAuthentication(anywhere=True).authenticate(credentials) == LOCAL_ACTOR


async def test_refused_remote_client_gets_a_reason(application: Application) -> None:
    transport = httpx.ASGITransport(application.asgi, client=("192.168.1.7", 1))
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        refused = await client.get(f"/threads/{uuid.uuid4()}")
        assert refused.status_code == 403
        assert "RUNSTEAD_ALLOW_UNAUTHENTICATED" in refused.json()["detail"]
        assert (await client.get("/ok")).status_code == 200
