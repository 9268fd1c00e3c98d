"""Workers, API keys and limits over HTTP: each role sees and changes what it may."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.server import serving

from .test_identity import application_of
from .test_limits import ACME
from .test_roles_and_audit import keys, url

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
