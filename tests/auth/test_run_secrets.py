"""Secrets in a run's request: nodes see them, and nothing that is stored or shown contains them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis import asyncio as aioredis
from sqlalchemy import Connection

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.cache.memory import MemoryCache
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.schema import metadata
from runstead.resources.run_secrets import CachedRunSecrets
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.secrets import SecretsLost, bound_secrets, secrets
from runstead.runtime.runs.types import RunId
from runstead.testing.clock import ManualClock
from tests.servers.postgres import a_schema

from .test_identity import FOLDER, application_of

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


async def test_cron_refuses_secrets_since_it_would_have_to_store_them(tmp_path: Path) -> None:
    async with (
        serving(application_of(tmp_path, "secrets.json")) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        cron = {"assistant_id": "user", "schedule": "0 0 1 1 *", "input": {}}
        given = {"secrets": {"api_token": CANARY}}
        made = (await http.post("/runs/crons", json=cron)).json()
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        for method, path, body in (
            ("POST", "/runs/crons", {**cron, **given}),
            ("POST", f"/threads/{thread}/runs/crons", {**cron, **given}),
            ("PATCH", f"/runs/crons/{made['cron_id']}", given),
        ):
            refused = await http.request(method, path, json=body)
            assert refused.status_code == 422, (path, refused.text)
            assert "secrets: a cron has none" in refused.json()["detail"]
            assert CANARY not in refused.text


def rows_of(connection: Connection, table: str) -> Sequence[Any]:
    return connection.exec_driver_sql(f"SELECT * FROM {table}").all()


@asynccontextmanager
async def gateway_and_worker(folder: Path, request: pytest.FixtureRequest, **settings: Any) -> AsyncIterator[str]:
    """Serve the graph by two processes' worth of application: one accepts runs, the other executes them."""
    database_url, redis_url = request.getfixturevalue("postgres_url"), request.getfixturevalue("redis_url")
    schema = a_schema()
    shared = {"database_url": database_url, "redis_url": redis_url, "database_schema": schema, "database_pool_size": 3}
    async with open_postgres_storage(database_url, PostgresOptions(pool_size=2, schema=schema)) as database:
        try:
            async with AsyncExitStack() as stack:
                for name, slots in (("worker", 4), ("gateway", 0)):
                    application = Application.from_file(
                        FOLDER / "secrets.json",
                        data_dir=folder / name,
                        port=0,
                        shutdown_grace_seconds=0.1,
                        max_concurrent_runs=slots,
                        **shared,
                        **settings,
                    )
                    url = await stack.enter_async_context(serving(application))
                yield url
            for name in {table.name for table in metadata.sorted_tables} - {"checkpoint_identity"}:
                rows = await database.read(partial(rows_of, table=f"{schema}.{name}"))
                assert CANARY not in repr([[bytes(v) if isinstance(v, memoryview) else v for v in r] for r in rows])
        finally:
            await database.write(lambda c: c.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE").close())


async def test_secrets_reach_the_worker_of_a_cluster_through_redis_encrypted(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    keys = base64.b64encode(b"k" * 32).decode()
    async with (
        gateway_and_worker(tmp_path, request, encryption_keys=keys) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
        aioredis.from_url(request.getfixturevalue("redis_url")) as redis,
    ):
        waiting = {"assistant_id": "user", "input": {}, "secrets": {"api_token": CANARY}, "after_seconds": 3600}
        assert (await http.post("/runs", json=waiting)).status_code == 200
        kept = [await redis.dump(key) or b"" for key in await redis.keys("*")]
        assert kept
        assert not any(CANARY.encode() in one for one in kept)
        run = {**waiting, "after_seconds": 0}
        shown = (await http.post("/runs/wait", json=run)).json()
        assert shown == {"digest": hashlib.sha256(CANARY.encode()).hexdigest()}


async def test_cluster_without_encryption_passes_no_secrets_on(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    async with (
        gateway_and_worker(tmp_path, request) as url,
        httpx.AsyncClient(base_url=url, timeout=60) as http,
    ):
        run = {"assistant_id": "user", "input": {}, "secrets": {"api_token": CANARY}}
        refused = await http.post("/runs/wait", json=run)
        assert (refused.status_code, "set encryption_keys" in refused.json()["detail"]) == (422, True)
