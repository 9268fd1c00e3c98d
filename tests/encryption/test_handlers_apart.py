"""Handlers on their loop: no caller blocks it, and the encryption context follows the work."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from langgraph_sdk import get_client

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from tests.cluster.nodes import Cluster

from .test_canaries import KEY, PLAIN, files_below, leaks, say_everything
from .test_handlers import context, rows_of

WAITING: Final = Path(__file__).with_name("waiting.json")
HANDLERS: Final = Path(__file__).with_name("handlers.json")


@asynccontextmanager
async def served(data: Path) -> AsyncIterator[str]:
    settings: dict[str, Any] = {"shutdown_grace_seconds": 0.1, "shutdown_notice_seconds": 0}
    async with serving(Application.from_file(WAITING, port=0, data_dir=data, **settings)) as url:
        yield url


def client_of(url: str, user: str = "ann", **headers: str) -> Any:
    return get_client(url=url, headers={"Authorization": f"Bearer {user}", **headers})


@pytest.mark.parametrize("graph", ["shared", "apart"])
async def test_nodes_use_the_store_and_a_deadlocking_wait_is_refused(graph: str, tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        client = client_of(url)
        for how in ("waiting", "blocking"):
            thread = await client.threads.create()
            found = await client.runs.wait(thread["thread_id"], graph, input={"how": how})
            if how == "blocking" and graph == "shared":
                assert "use the async method" in found["found"]
            else:
                assert found["found"].startswith("remembered")
            assert found["found"].endswith(", remembered in a thread")
        assert b"remembered" not in rows_of(tmp_path)


async def test_context_handler_takes_the_tenant_from_the_user(tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        for name in ("ann", "bob"):
            client = client_of(url, name)
            thread = await client.threads.create(metadata={"note": f"of-{name}"})
            await client.runs.wait(thread["thread_id"], "shared", input={"how": "waiting"})
            assert (await client.threads.get(thread["thread_id"]))["metadata"]["note"] == f"of-{name}"
        stored = rows_of(tmp_path)
        # User data from the auth handler is stored with runs.
        assert b"secret-of-" not in stored
        with sqlite3.connect(tmp_path / "checkpoints.db") as connection:
            blobs = [bytes(blob) for (blob,) in connection.execute("SELECT checkpoint FROM checkpoints")]
        assert {name for name in (b"ann", b"bob") for blob in blobs if b'"tenant-of-' + name + b'"' in blob} == {
            b"ann",
            b"bob",
        }
        assert all(b"tenant-of-" in blob for blob in blobs)


async def test_context_handler_that_fails_is_named(tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        header = context(fails="context")["X-Encryption-Context"]
        client = client_of(url, **{"X-Encryption-Context": header})
        with pytest.raises(Exception, match=r"handler context, failed \(KeyError\)"):
            await client.threads.create()


async def test_runs_of_crons_use_the_context_of_the_cron_creator(tmp_path: Path) -> None:
    async with served(tmp_path) as url:
        client = client_of(url)
        thread = await client.threads.create()
        cron = await client.crons.create_for_thread(
            thread["thread_id"], "shared", schedule="0 0 1 1 *", input={"how": "waiting"}, metadata={"note": "c-1"},
        )  # fmt: skip
        changed = await client.crons.update(
            cron["cron_id"], schedule="* * * * * *", input={"how": "waiting", "found": "c-2"},
            end_time=datetime.now(UTC) + timedelta(minutes=1),
        )  # fmt: skip
        assert changed["payload"]["input"] == {"how": "waiting", "found": "c-2"}
        while not (runs := await client.runs.list(thread["thread_id"], status="success")):
            pass
        assert runs[0]["kwargs"]["input"] == {"how": "waiting", "found": "c-2"}
        [found] = await client.crons.search()
        assert (found["metadata"]["note"], found["payload"]["input"]["found"]) == ("c-1", "c-2")
        await client.crons.delete(cron["cron_id"])
        stored = rows_of(tmp_path)
        assert b"c-2" not in stored
        with sqlite3.connect(tmp_path / "checkpoints.db") as connection:
            blobs = [bytes(blob) for (blob,) in connection.execute("SELECT checkpoint FROM checkpoints")]
        assert blobs
        assert all(b"tenant-of-ann" in blob for blob in blobs)


async def test_gateway_and_a_worker_of_a_cluster_call_the_same_handlers(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "encryption_keys": KEY,
        "webhook_allow_loopback": "true",
    }
    with Cluster.running(tmp_path, gateways=1, workers=1, config=HANDLERS, **settings) as cluster:
        await say_everything(cluster.urls[0])
        client: Any = get_client(url=cluster.urls[0], headers=context(tenant="acme"))
        thread = await client.threads.create()
        await client.runs.wait(thread["thread_id"], "agent", input={"given": "t-1"})
        assert "t-1" in str(await client.threads.get_state(thread["thread_id"]))
        assert leaks(cluster.postgres.folder) == {}
        assert PLAIN.encode() in b"".join(content for _, content in files_below(cluster.postgres.folder))
