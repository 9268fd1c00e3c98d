"""Auth handlers apply to copies of threads, and to pruning of several threads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from runstead.bootstrap.application import Application

from .conftest import CONFIG

ALICE, BOB, GUEST = ({"x-api-key": f"{name}-token"} for name in ("alice", "bob", "guest"))

STAMPING = """
from langgraph_sdk import Auth

auth = Auth()


@auth.authenticate
async def authenticate(headers: dict[bytes, bytes]) -> str:
    return headers.get(b"x-user", b"unknown").decode()


@auth.on.threads.create
async def stamped(ctx, value):
    if ctx.user.identity == "reader":
        return False
    value["metadata"] = {**(value.get("metadata") or {}), "stamp": "new"}
"""


async def a_thread(http: httpx.AsyncClient, **metadata: Any) -> str:
    thread_id: str = (await http.post("/threads", json={"metadata": metadata}, headers=ALICE)).json()["thread_id"]
    return thread_id


async def test_prune_affects_only_threads_visible_through_the_filter(http: httpx.AsyncClient) -> None:
    private, public = await a_thread(http), await a_thread(http, visibility="public")
    asked = {"thread_ids": [private, public]}
    pruned = await http.post("/threads/prune", json=asked, headers=GUEST)
    assert pruned.json() == {"pruned_count": 1}
    assert (await http.get(f"/threads/{private}", headers=ALICE)).status_code == 200
    assert (await http.get(f"/threads/{public}", headers=ALICE)).status_code == 404


async def test_prune_without_delete_permission_is_refused(http: httpx.AsyncClient) -> None:
    for strategy in ("delete", "keep_latest"):
        refused = await http.post("/threads/prune", json={"thread_ids": [], "strategy": strategy}, headers=BOB)
        assert (refused.status_code, refused.json()) == (403, {"detail": "bob may not delete"})


async def test_copy_is_authorized_as_creation_of_a_thread(tmp_path: Path) -> None:
    (tmp_path / "auth.py").write_text(STAMPING)
    config = tmp_path / "langgraph.json"
    graphs = {"teller": f"{CONFIG.parent / 'graphs.py'}:teller"}
    config.write_text(json.dumps({"graphs": graphs, "auth": {"path": "./auth.py:auth"}}))
    application = Application.from_file(config, data_dir=tmp_path / "data")
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        made = (await http.post("/threads", json={"metadata": {"a": 1}}, headers={"x-user": "ada"})).json()
        await http.patch(
            f"/threads/{made['thread_id']}", json={"metadata": {"stamp": "old"}}, headers={"x-user": "ada"}
        )
        copied = await http.post(f"/threads/{made['thread_id']}/copy", headers={"x-user": "ada"})
        assert copied.json()["metadata"] == {"a": 1, "stamp": "new"}
        run = {"assistant_id": "teller", "input": {}, "if_not_exists": "create"}
        own = "00000000-0000-7000-8000-000000000001"
        assert (await http.post(f"/threads/{own}/runs", json=run, headers={"x-user": "reader"})).status_code == 200
        refused = await http.post(f"/threads/{own}/copy", headers={"x-user": "reader"})
        assert refused.status_code == 403
        assert len((await http.post("/threads/search", json={}, headers={"x-user": "reader"})).json()) == 1
