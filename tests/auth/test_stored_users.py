"""Storage of the user that a handler describes, including tokens: stored fields and their lifetime; graphs get all
fields.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.storage.schema import runs, webhook_deliveries
from runstead.infra.storage.sqlite import open_storage
from tests.processes.client import eventually
from tests.servers.sqlite import current_data

CONFIG = Path(__file__).parent / "described.json"
TOKEN = "token-that-is-secret-7f3a"
ADA = {"authorization": "Bearer ada", "x-token": TOKEN}
TELL: dict[str, Any] = {"assistant_id": "teller", "input": {}}


@asynccontextmanager
async def server(folder: Path, *, execute: bool = True, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    chosen = {"data_dir": current_data(folder / "data"), "port": 0, "shutdown_grace_seconds": 0.1, **settings}
    application = Application.from_file(CONFIG, **chosen)
    application._execute = execute
    async with serving(application) as url, httpx.AsyncClient(base_url=url, headers=ADA, timeout=30) as client:
        yield client


async def stored(folder: Path) -> str:
    """The columns that may contain user data."""
    async with open_storage(folder / "data" / "runstead.db") as database:
        rows = await database.read(
            lambda c: [*c.execute(runs.select()).all(), *c.execute(webhook_deliveries.select()).all()]
        )
    assert rows
    return repr(rows)


def files_with(folder: Path, text: str) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


async def has_ended(client: httpx.AsyncClient, run: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] = (await client.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}")).json()
    return found if found["status"] not in ("pending", "running") else None


async def test_graph_gets_all_user_fields_and_ended_run_keeps_the_identity(tmp_path: Path) -> None:
    async with server(tmp_path, webhook_allow_loopback=True) as client:
        body = {**TELL, "webhook": "http://127.0.0.1:1/hook"}
        observed = (await client.post("/runs/wait", json={**body, "on_completion": "keep"})).json()["observed"]
        assert observed["langgraph_auth_user"]["token"] == TOKEN
        assert observed["langgraph_auth_user"]["org"] == "acme"
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        delayed = (await client.post(f"/threads/{thread}/runs", json={**body, "after_seconds": 600})).json()
        assert TOKEN in await stored(tmp_path)
        await client.post(f"/threads/{thread}/runs/{delayed['run_id']}/cancel?wait=1")
        kept = await stored(tmp_path)
    assert TOKEN not in kept
    assert "Ada L." in kept


async def test_pending_run_passes_all_user_fields_to_another_process(tmp_path: Path) -> None:
    async with server(tmp_path, execute=False) as client:
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        run = (await client.post(f"/threads/{thread}/runs", json=TELL)).json()
    async with server(tmp_path) as client:
        assert await eventually(lambda: has_ended(client, run), 30)
        observed = (await client.get(f"/threads/{thread}/state")).json()["values"]["observed"]
    assert observed["langgraph_auth_user"]["token"] == TOKEN


async def test_unlisted_user_fields_are_not_stored_but_reach_local_runs(tmp_path: Path) -> None:
    listed: dict[str, Any] = {"auth_stored_fields": ("org",)}
    async with server(tmp_path, **listed) as client:
        assert (await client.post("/runs/wait", json={**TELL, "assistant_id": "knower"})).json()["knows"] == [
            TOKEN[::-1],
            "acme",
        ]
        thread = (await client.post("/threads", json={})).json()["thread_id"]
        delayed = (await client.post(f"/threads/{thread}/runs", json={**TELL, "after_seconds": 2})).json()
        await client.post("/runs/crons", json={**TELL, "schedule": "0 0 1 1 *"})
        assert files_with(tmp_path / "data", TOKEN) == []
        assert files_with(tmp_path / "data", "acme") != []
    async with server(tmp_path, **listed) as client:
        assert await eventually(lambda: has_ended(client, delayed), 30)
        observed = (await client.get(f"/threads/{thread}/state")).json()["values"]["observed"]
    # After a restart the unlisted field is lost; the listed ones remain.
    assert "token" not in observed["langgraph_auth_user"]
    assert observed["langgraph_auth_user"]["org"] == "acme"


async def test_concurrent_runs_get_the_fields_of_their_own_user(tmp_path: Path) -> None:
    async with server(tmp_path, auth_stored_fields=()) as client:

        async def known(number: int) -> Any:
            shown = {"x-token": f"token-{number}"}
            return (await client.post("/runs/wait", json={**TELL, "assistant_id": "knower"}, headers=shown)).json()

        answers = await asyncio.gather(*(known(number) for number in range(12)))
    assert [answer["knows"][0] for answer in answers] == [f"token-{number}"[::-1] for number in range(12)]


@pytest.mark.parametrize("given", [None, ("org", "token")])
async def test_handlers_see_all_fields(tmp_path: Path, given: tuple[str, ...] | None) -> None:
    async with server(tmp_path, auth_stored_fields=given) as client:
        assert (await client.post("/threads/search", json={})).status_code == 200
        assert (await client.post("/threads/search", json={}, headers={"x-token": ""})).status_code == 403
