"""Open streams and WebSockets end when their user loses access; those of others continue."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.engines.postgres_pool import PostgresOptions
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.database import Database
from runstead.infra.storage.postgres import open_postgres_storage
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from runstead.runtime.actor_context import ActorContext, acting
from runstead.runtime.runs.types import RunRecord, StopReason
from tests.processes.client import eventually
from tests.servers.postgres import a_schema
from tests.servers.profiles import PROFILES, served
from tests.servers.sqlite import current_data

from .revocable_handlers import forbidden

CONFIG = Path(__file__).parent / "revocable.json"
WITHIN = 10


@pytest.fixture(params=PROFILES)
async def http(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    settings: dict[str, Any] = {"access_check_seconds": 0.2, "heartbeat_seconds": 0.2}
    async with served(CONFIG, tmp_path, request, **settings) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


def user(folder: Path, name: str) -> tuple[Path, dict[str, str]]:
    """A token, and the headers that carry it."""
    token = folder / name
    token.touch()
    return token, {"authorization": f"Bearer {token}"}


async def read_until_cut(lines: AsyncIterator[str]) -> bool:
    """True if the response was cut off."""
    try:
        async for _ in lines:
            pass
    except httpx.RemoteProtocolError:
        return True
    return False


async def is_answered(socket: ClientConnection) -> bool:
    await socket.send(json.dumps({"id": 1, "method": "no.such", "params": {}}))
    return bool(await socket.recv())


async def test_streams_and_sockets_of_a_user_without_access_are_closed(http: httpx.AsyncClient, tmp_path: Path) -> None:
    token, alice = user(tmp_path, "alice")
    _, bob = user(tmp_path, "bob")
    thread = (await http.post("/threads", json={}, headers=alice)).json()["thread_id"]
    address = f"{str(http.base_url).replace('http', 'ws').rstrip('/')}/threads/{thread}/stream/events"
    others = address.replace(thread, str(uuid4()))
    async with (
        http.stream("GET", f"/threads/{thread}/stream", headers=alice) as stream,
        connect(address, additional_headers=alice) as socket,
        connect(others, additional_headers=bob) as other,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        assert await is_answered(socket)
        token.unlink()
        async with asyncio.timeout(WITHIN):
            assert await read_until_cut(lines)
            await socket.wait_closed()
        assert socket.close_code == 4401
        assert await is_answered(other)
    token.touch()
    # Nothing is lost: with access again, the thread is unchanged.
    assert (await http.get(f"/threads/{thread}", headers=alice)).status_code == 200


async def test_crons_of_a_revoked_key_are_suspended_until_a_new_key_is_used(tmp_path: Path) -> None:
    data, every_second = tmp_path / "data", {"assistant_id": "teller", "schedule": "* * * * * *"}
    application = Application.from_file(CONFIG, data_dir=current_data(data), port=0, auth="keys")
    first, second = new_key(), new_key()
    async with (
        serving(application) as url,
        httpx.AsyncClient(base_url=url) as client,
        open_storage(data / "runstead.db") as database,
    ):
        keys = SqlApiKeyStore(database)
        for key_id, key in (("key_1", first), ("key_2", second)):
            made = application.services.clock.now()
            await keys.add(ApiKeyRecord(key_id, key_id, digest_of(key), "alice", "default", (), made))
        cron = (await client.post("/runs/crons", json=every_second, headers={"x-api-key": first})).json()
        place = f"/runs/crons/{cron['cron_id']}"
        shown = {"x-api-key": second}

        async def last() -> tuple[str | None, str | None]:
            found = (await client.get(place, headers=shown)).json()
            return found["last_run_id"], found["last_error"]

        async def has_run_since(run_id: str | None) -> bool:
            return (await last())[0] not in (None, run_id) and (await last())[1] is None

        assert await eventually(lambda: has_run_since(None), 30)
        await keys.revoke("key_1", application.services.clock.now())

        async def is_suspended() -> bool:
            return "key_1 that made or changed it last is revoked" in ((await last())[1] or "")

        assert await eventually(is_suspended, 30)
        before = (await last())[0]
        assert (await client.patch(place, json={"metadata": {"mine": True}}, headers=shown)).status_code == 200
        assert await eventually(lambda: has_run_since(before), 30)


@pytest.fixture
def carol() -> Iterator[str]:
    """A user whose rights are revoked by the test, while the account stays."""
    name = f"carol-{uuid4().hex[:8]}"
    yield name
    forbidden(name).unlink(missing_ok=True)


async def test_stream_ends_when_handlers_withdraw_permission(
    http: httpx.AsyncClient, tmp_path: Path, carol: str
) -> None:
    _, headers = user(tmp_path, carol)
    thread = (await http.post("/threads", json={}, headers=headers)).json()["thread_id"]
    address = f"{str(http.base_url).replace('http', 'ws').rstrip('/')}/threads/{thread}/stream/events"
    async with (
        http.stream("GET", f"/threads/{thread}/stream", headers=headers) as stream,
        connect(address, additional_headers=headers) as socket,
    ):
        lines = stream.aiter_lines()
        await anext(lines)
        forbidden(carol).touch()
        async with asyncio.timeout(WITHIN):
            assert await read_until_cut(lines)
            await socket.wait_closed()
        assert socket.close_code == 4401


@asynccontextmanager
async def one_server(folder: Path, **settings: Any) -> AsyncIterator[tuple[Application, httpx.AsyncClient]]:
    application = Application.from_file(CONFIG, data_dir=current_data(folder / "data"), port=0, **settings)
    async with serving(application) as url, httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield application, client


async def ended(application: Application, name: str, run: dict[str, Any]) -> RunRecord:
    """Return the record of a user's run once it has ended, whatever the user may read."""

    async def end() -> RunRecord | None:
        with acting(ActorContext(name)):
            record = await application.services.runs.get_run(run["run_id"])
        return record if record.status.is_terminal else None

    found: RunRecord | None = await eventually(end, 30)
    assert found is not None
    return found


async def test_delayed_run_of_a_user_without_rights_is_not_executed(tmp_path: Path, carol: str) -> None:
    _, headers = user(tmp_path, carol)
    body = {"assistant_id": "teller", "input": {}}
    async with one_server(tmp_path) as (application, client):
        thread = (await client.post("/threads", json={}, headers=headers)).json()["thread_id"]
        place = f"/threads/{thread}/runs"
        allowed = (await client.post(place, json={**body, "after_seconds": 1}, headers=headers)).json()
        assert (await ended(application, carol, allowed)).status == "success"
        delayed = (await client.post(place, json={**body, "after_seconds": 1}, headers=headers)).json()
        before = (await client.get(f"/threads/{thread}/state", headers=headers)).json()["checkpoint"]
        forbidden(carol).touch()
        record = await ended(application, carol, delayed)
        assert (record.status, record.stop_requested) == ("interrupted", StopReason.REVOKED)
        forbidden(carol).unlink()
        shown = (await client.get(f"{place}/{delayed['run_id']}", headers=headers)).json()
        assert (shown["status"], shown["cancel_reason"]) == ("interrupted", "access_revoked")
        assert (await client.get(f"/threads/{thread}/state", headers=headers)).json()["checkpoint"] == before
        # After the right is granted again, the thread accepts runs.
        assert (await client.post(f"{place}/wait", json=body, headers=headers)).json()["observed"]


def storage_of(
    profile: str, folder: Path, request: pytest.FixtureRequest
) -> tuple[dict[str, Any], AbstractAsyncContextManager[Any]]:
    """The settings of a server of this profile, and its database for the test's own use."""
    if profile == "embedded":
        return {}, open_storage(folder / "data" / "runstead.db")
    url, schema = request.getfixturevalue("postgres_url"), a_schema()
    redis = request.getfixturevalue("redis_url")
    chosen = {"database_url": url, "database_schema": schema, "redis_url": redis, "shutdown_notice_seconds": 0}
    return chosen, open_postgres_storage(url, PostgresOptions(pool_size=2, schema=schema))


@pytest.mark.parametrize("profile", PROFILES)
async def test_runs_of_a_revoked_key_are_stopped_and_pending_ones_never_start(
    profile: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first, second = new_key(), new_key()
    async with AsyncExitStack() as stack:
        shared, opened = storage_of(profile, tmp_path, request)
        settings = {"auth": "keys", "access_check_seconds": 0.3, **shared}
        application, client = await stack.enter_async_context(one_server(tmp_path, **settings))
        database: Database = await stack.enter_async_context(opened)
        keys = SqlApiKeyStore(database)
        for key_id, key in (("key_1", first), ("key_2", second)):
            made = application.services.clock.now()
            await keys.add(ApiKeyRecord(key_id, key_id, digest_of(key), "alice", "default", (), made))
        of_first, of_second = {"x-api-key": first}, {"x-api-key": second}
        place = f"/threads/{(await client.post('/threads', json={}, headers=of_first)).json()['thread_id']}/runs"
        patient: dict[str, Any] = {"assistant_id": "patient", "input": {"wait": 600}}
        running = (await client.post(place, json=patient, headers=of_first)).json()
        waiting = (await client.post(place, json=patient, headers=of_first)).json()
        of_other_key = {"assistant_id": "patient", "input": {"wait": 0}}
        last = (await client.post(place, json=of_other_key, headers=of_second)).json()

        async def has_begun() -> bool:
            found = (await client.get(f"{place}/{running['run_id']}", headers=of_second)).json()
            return bool(found["status"] == "running")

        await eventually(has_begun, 30)
        await keys.revoke("key_1", application.services.clock.now())
        async with asyncio.timeout(WITHIN):
            stopped = await ended(application, "alice", running)
        assert (stopped.status, stopped.stop_requested) == ("interrupted", StopReason.REVOKED)
        never = await ended(application, "alice", waiting)
        assert (never.status, never.stop_requested) == ("interrupted", StopReason.REVOKED)
        assert (await ended(application, "alice", last)).status == "success"
