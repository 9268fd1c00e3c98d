"""Files on a cluster: a gateway and two workers, on a shared folder and on a bucket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.postgres import open_postgres_storage
from tests.servers.postgres import a_schema
from tests.servers.s3 import CREDENTIALS, new_bucket

CONFIGURATION = Path(__file__).parent / "langgraph.json"


@pytest.fixture(params=["shared folder", "s3"])
async def gateways(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Clients of three nodes; the first one executes no runs, and the others one at a time."""
    settings: dict[str, Any] = {"files_dir": tmp_path / "shared"}
    if request.param == "s3":
        endpoint = request.getfixturevalue("s3_url")
        for name, value in {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint}.items():
            monkeypatch.setenv(name, value)
        settings = {"files_url": f"s3://{new_bucket(endpoint)}"}
    url, schema = request.getfixturevalue("postgres_url"), a_schema()
    settings |= {"database_url": url, "redis_url": request.getfixturevalue("redis_url"), "database_schema": schema}
    settings |= {"database_pool_size": 3, "shutdown_grace_seconds": 0.1, "port": 0}
    async with (
        open_postgres_storage(url, PostgresOptions(pool_size=2, schema=schema)) as database,
        AsyncExitStack() as on,
    ):
        nodes = []
        for number, slots in enumerate((0, 1, 1)):
            node = Application.from_file(
                CONFIGURATION, data_dir=tmp_path / f"node-{number}", max_concurrent_runs=slots, **settings
            )
            await on.enter_async_context(node.running())
            transport = httpx.ASGITransport(node.asgi)
            client = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=60)
            nodes.append(await on.enter_async_context(client))
        yield nodes
        await on.aclose()
        await database.write(lambda c: c.exec_driver_sql(f"DROP SCHEMA {schema} CASCADE").close())


async def test_all_nodes_see_the_files_of_a_thread(gateways: list[httpx.AsyncClient]) -> None:
    gateway, first, second = gateways
    thread = (await gateway.post("/threads", json={})).json()["thread_id"]
    place = f"/threads/{thread}/files"
    # A run that occupies one worker, and has written a file.
    other = (await first.post("/threads", json={})).json()["thread_id"]
    await first.post(f"/threads/{other}/runs", json={"assistant_id": "steps", "input": {}})
    async with asyncio.timeout(60):
        while not (await second.get(f"/threads/{other}/files")).json():  # noqa: ASYNC110 - no event in other nodes
            await asyncio.sleep(0.01)
    await second.post(place, files={"file": ("a.txt", b"hello")})
    for note in ("x", "xx"):
        found = (
            await gateway.post(f"/threads/{thread}/runs/wait", json={"assistant_id": "worker", "input": {}})
        ).json()
        assert found == {"uploaded": "hello", "note": note, "listed": ["/workspace/plan.md"]}
    for node in gateways:
        listed = [entry["path"] for entry in (await node.get(place)).json()]
        assert listed == ["outputs/report.html", "uploads/a.txt", "workspace/plan.md"]
        memory = await node.get("/memory/files/content", params={"path": "memory/notes.txt"})
        assert memory.content == b"xx"
    assert (await first.delete(place, params={"path": "uploads/a.txt"})).status_code == 204
    assert (await second.get(f"{place}/content", params={"path": "uploads/a.txt"})).status_code == 404
    assert (await gateway.delete(f"/threads/{thread}")).status_code == 204
    await second.post("/threads", json={"thread_id": thread})
    assert (await first.get(place)).json() == []
