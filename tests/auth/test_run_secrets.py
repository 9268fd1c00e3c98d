"""Secrets in a run's request: nodes see them, and nothing that is stored or shown contains them."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.server import serving
from runstead.infra.cache.memory import MemoryCache
from runstead.resources.run_secrets import CachedRunSecrets
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.secrets import SecretsLost, bound_secrets, secrets
from runstead.runtime.runs.types import RunId
from runstead.testing.clock import ManualClock

from .test_identity import application_of

CANARY = "canary-8c1f-secret"
MODES = ["values", "updates", "events", "debug", "tasks", "checkpoints", "messages-tuple", "custom"]


async def test_nodes_see_secrets_and_nothing_keeps_them(tmp_path: Path) -> None:
    async with (
        serving(application_of(tmp_path, "secrets.json")) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        run = {"assistant_id": "user", "input": {}, "secrets": {"api_token": CANARY}, "stream_mode": MODES}
        shown = [(await http.post(f"/threads/{thread}/runs/stream", json=run)).text]
        assert hashlib.sha256(CANARY.encode()).hexdigest() in shown[0]
        for path in ("", "/state", "/history", "/runs", "/messages"):
            shown.append((await http.get(f"/threads/{thread}{path}")).text)
        (made,) = (await http.get(f"/threads/{thread}/runs")).json()
        shown.append((await http.get(f"/threads/{thread}/runs/{made['run_id']}/events")).text)
        assert [text[:80] for text in shown if CANARY in text or "__runstead_secrets" in text] == []
        # A run that continues has the secrets of its own request only.
        told: Any = (await http.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "user", "input": {}})).json()
        assert told["__error__"]["error"] == "KeyError"
        refused = await http.post("/runs", json={**run, "secrets": {"x": "y" * 70_000}})
        assert refused.status_code == 422
    files = [file for file in (tmp_path / "data").rglob("*") if file.is_file()]
    assert len(files) >= 2
    assert [file.name for file in files if CANARY.encode() in file.read_bytes()] == []


async def test_secrets_are_per_actor_and_their_loss_is_an_error() -> None:
    kept = CachedRunSecrets(MemoryCache(ManualClock()))
    alice, bob = ActorContext("alice", "acme"), ActorContext("bob", "acme")
    await kept.put(alice, RunId("r-1"), {"a": "1"})
    await kept.put(bob, RunId("r-1"), {"a": "2"})
    assert await kept.get(alice, RunId("r-1")) == {"a": "1"}
    await kept.discard(alice, RunId("r-1"))
    found = await kept.get(alice, RunId("r-1"))
    with bound_secrets(("a",), found), pytest.raises(SecretsLost, match="secrets a of this run are gone"):
        secrets()
    with bound_secrets((), None):
        assert secrets() == {}
