"""``get_client()`` without a URL in ``http.app`` and auth handlers: the server it reaches, and the user it acts as."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.server import serving

from . import own_client
from .conftest import HERE, Configured, Served

FILE = HERE / "own_client.py"
DOCUMENT: dict[str, Any] = {
    "graphs": {"graph": f"{FILE}:graph", "own-loop": {"path": f"{FILE}:graph", "agent_isolation": "run"}},
    "http": {"app": f"{FILE}:app"},
}
WITH_AUTH: dict[str, Any] = {**DOCUMENT, "auth": {"path": f"{FILE}:auth"}}
ADA, BOB = {"x-user": "ada"}, {"x-user": "bob"}


async def test_without_users_app_code_acts_as_the_local_user(served: Served) -> None:
    async with served(**DOCUMENT) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        made = (await http.post("/make")).json()
        (await http.post("/run")).raise_for_status()
        found = {thread["thread_id"]: thread for thread in (await http.post("/threads/search", json={})).json()}
        assert found[made]["metadata"]["by"] == "route"
        assert {thread["metadata"].get("by") for thread in found.values()} >= {"start", "background", "route"}
        before = set(found)
    assert own_client.ENDED[-1] not in before


async def test_with_users_app_code_acts_as_the_server_without_handlers(served: Served) -> None:
    async with served(**WITH_AUTH) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        of_ada = (await http.post("/threads", json={}, headers=ADA)).json()["thread_id"]
        assert (await http.post("/threads", json={}, headers=BOB)).status_code == 403
        made = (await http.post("/make")).json()
        assert {of_ada, made} <= set((await http.get("/threads-of-all")).json())
        # Resources created by the server are its own: no user finds them, unless a handler's filter allows it.
        assert (await http.get(f"/threads/{made}", headers=ADA)).status_code == 404
        (await http.post("/run")).raise_for_status()
        await http.post(f"/stop-being/{of_ada}")
        assert (await http.get(f"/threads/{of_ada}", headers=ADA)).status_code == 404


async def test_with_custom_route_auth_app_code_acts_as_the_user(served: Served) -> None:
    document = {**WITH_AUTH, "http": {**DOCUMENT["http"], "enable_custom_route_auth": True}}
    async with served(**document) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        made = (await http.post("/make", headers=ADA)).json()
        assert (await http.get(f"/threads/{made}", headers=ADA)).status_code == 200
        assert (await http.post("/make", headers=BOB)).status_code == 500


async def test_code_without_known_origin_does_not_act_as_the_server(served: Served) -> None:
    """A task or thread without the context of a run might have been started for any user."""
    async with served(**WITH_AUTH) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        assert "Unauthenticated" in (await http.get("/without-context")).json()


@pytest.mark.parametrize("name", ["runstead:server", "runstead:other"])
async def test_user_with_the_identity_of_the_server_is_refused(served: Served, name: str) -> None:
    async with served(**WITH_AUTH) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        assert (await http.post("/threads/search", json={}, headers={"x-user": name})).status_code == 401


@pytest.mark.parametrize("graph", ["graph", "own-loop"])
async def test_clients_of_two_servers_in_a_process_reach_their_own_server(
    configured: Configured, graph: str, tmp_path: Path
) -> None:
    one = configured({"data_dir": tmp_path / "one", "webhook_allow_loopback": True}, **DOCUMENT)
    other = configured({"data_dir": tmp_path / "other"}, **DOCUMENT)
    async with (
        serving(one) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
        serving(other) as newest,
        httpx.AsyncClient(base_url=newest, timeout=30) as elsewhere,
    ):
        made = (await http.post("/make")).json()
        body = {"assistant_id": graph, "input": {}, "webhook": "/hook"}
        by_node = (await http.post("/runs/wait", json=body)).json()["thread_id"]
        for thread_id in (made, by_node):
            assert (await http.get(f"/threads/{thread_id}")).status_code == 200
            assert (await elsewhere.get(f"/threads/{thread_id}")).status_code == 404
        await http.put("/cached/first")
        await elsewhere.put("/cached/newest")
        assert ((await http.get("/cached")).json(), (await elsewhere.get("/cached")).json()) == ("first", "newest")
        # The route looks the run up, which exists only on this server.
        assert await settled(http) == "delivered"


async def settled(http: httpx.AsyncClient) -> str:
    """The status of the only webhook delivery, after an attempt."""
    async with asyncio.timeout(20):
        while True:
            deliveries = (await http.get("/webhooks/deliveries")).json()
            if deliveries and deliveries[0]["attempt_count"]:
                return str(deliveries[0]["status"])
            await asyncio.sleep(0.05)
