"""Workers, API keys and limits over HTTP: each role sees and changes what it may."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.routing import APIRoute
from websockets.asyncio.client import connect

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.gateway.route_declaration import declaration_of

from .test_denials import routers
from .test_identity import application_of
from .test_limits import ACME
from .test_roles_and_audit import FOLDER, keys, url

__all__ = ["keys", "url"]


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        yield client


def of(key: str, tenant: str | None = None) -> dict[str, str]:
    return {"x-api-key": key, **({"x-runstead-tenant": tenant} if tenant else {})}


async def test_workers_are_shown_to_operators_and_on_a_server_without_users(
    http: httpx.AsyncClient, keys: dict[str, str]
) -> None:
    for name in ("alice", "carol"):
        refused = await http.get("/workers", headers=of(keys[name]))
        assert (refused.status_code, "operators" in refused.json()["detail"]) == (403, True)
    report = (await http.get("/workers", headers=of(keys["olga"]))).json()
    assert report["server"]["slots"] > 0
    assert report["server"]["pools"]["runs"]["most"] > 0
    assert report["sizes"]["runs"]["used"] > 0
    assert "runs" in [table["name"] for table in report["tables"]]
    assert (report["workers"], report["held"], report["queue"]["running"]) == ([], [], 0)


async def test_keys_are_listed_and_revoked_within_the_reach_of_a_role(
    http: httpx.AsyncClient, keys: dict[str, str]
) -> None:
    async def listed(name: str, tenant: str | None = None) -> list[str]:
        found = await http.get("/keys", headers=of(keys[name], tenant))
        assert found.status_code == 200, found.text
        assert "digest" not in found.text
        return sorted(key["key_id"] for key in found.json())

    async def revoked(name: str, key_id: str) -> int:
        return (await http.delete(f"/keys/{key_id}", headers=of(keys[name]))).status_code

    assert (await http.get("/keys", headers=of(keys["alice"]))).status_code == 403
    assert await listed("carol") == ["key_alice", "key_carol"]
    assert await listed("olga") == ["key_alice", "key_carol", "key_olga", "key_umbrella-alice"]
    assert await listed("olga", "umbrella") == ["key_umbrella-alice"]
    assert await revoked("alice", "key_alice") == 403
    assert await revoked("carol", "key_umbrella-alice") == 404
    assert await revoked("carol", "key_alice") == 204
    assert (await http.get("/threads/search", headers=of(keys["alice"]))).status_code == 401
    assert await revoked("olga", "key_umbrella-alice") == 204
    audit: list[dict[str, Any]] = (
        await http.get("/audit", params={"action": "api_keys.delete"}, headers=of(keys["carol"]))
    ).json()
    assert [(entry["user_id"], entry["target"], entry["status"]) for entry in reversed(audit)][-1] == (
        "carol",
        {"key_id": "key_alice"},
        204,
    )


async def test_limits_and_budgets_are_shown_with_their_use(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "limit_user_runs": 5,
        "limit_tenant_requests": "100/minute",
        "limit_user_tokens_per_day": 1_000,
        "budgets": [{"per": ["thread"], "usd": 2}, {"per": ["graph", "day"], "tokens": 50, "on_exceeded": "pause"}],
    }
    application = application_of(tmp_path, authenticator="./identity_graphs.py:OwnAuthenticator", **settings)
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        assert (await http.post("/runs", json={"assistant_id": "who", "after_seconds": 3600}, headers=ACME)).is_success
        found = (await http.get("/limits", headers=ACME)).json()
    assert found["tenant_id"] == "acme"
    assert [(one["kind"], one["scope"], one["limit"], one["seconds"], one["used"]) for one in found["limits"]] == [
        ("requests", "tenant", 100, 60, None),
        ("runs", "user", 5, None, 1),
    ]
    budgets = [(one["per"], one["unit"], one["limit"], one["used"], one["on_exceeded"]) for one in found["budgets"]]
    assert budgets[0] == (["user", "day"], "tokens", 1_000, 0, "stop")
    assert budgets[1] == (["thread"], "usd", 2, None, "stop")
    assert {budget[2:] for budget in budgets[2:]} == {(50, 0, "pause")}
    assert all(one["graph_id"] for one in found["budgets"][2:])


READ_BY_POST = {"search", "count", "history", "namespaces", "checkpoint", "stream", "events", "commands", "versions"}
"""Last parts of the paths of routes with a body that only read."""


async def test_reader_is_refused_by_every_route_that_changes_something(tmp_path: Path, keys: dict[str, str]) -> None:
    settings: dict[str, Any] = {"auth": "keys", "admin_scope": "admin", "read_only_scope": "admin"}
    application = Application.from_file(FOLDER / "roles.json", data_dir=tmp_path / "data", port=0, **settings)
    found = {
        (method, route.path): declaration_of(route.endpoint)
        for router in routers()
        for route in router.routes
        if isinstance(route, APIRoute) and declaration_of(route.endpoint).permission is not None
        for method in route.methods or ()
    }
    changing = [route for route, declaration in found.items() if not declaration.is_read]
    reading = {path.rsplit("/", 1)[-1] for method, path in found if method != "GET" and (method, path) not in changing}
    assert reading <= READ_BY_POST
    reader, thread = of(keys["carol"]), str(uuid.uuid4())
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=60) as http:
        assert (await http.get("/limits", headers=reader)).json()["is_read_only"] is True
        assert (await http.get("/limits", headers=of(keys["alice"]))).json()["is_read_only"] is False
        for method, path in [*changing, ("DELETE", "/keys/{key_id}")]:
            refused = await http.request(method, re.sub(r"\{\w+\}", thread, path), headers=reader, json={})
            assert (refused.status_code, "only read" in refused.text) == (403, True), (method, path, refused.text)
        path = f"/threads/{thread}/runs/{uuid.uuid4()}"
        assert (await http.get(f"{path}/join", params={"cancel_on_disconnect": 1}, headers=reader)).status_code == 403
        assert (await http.get(path, headers=reader)).status_code == 404
        start = {"id": 1, "method": "run.start", "params": {"assistant_id": "asker", "input": {}}}
        answer = (await http.post(f"/threads/{thread}/commands", headers=reader, json=start)).json()
        assert (answer["type"], "only read" in answer["message"]) == ("error", True)
        socket = f"{url.replace('http', 'ws')}/threads/{thread}/stream/events"
        async with connect(socket, additional_headers=reader) as connection:
            await connection.send(json.dumps(start))
            assert "only read" in await connection.recv(decode=True)
