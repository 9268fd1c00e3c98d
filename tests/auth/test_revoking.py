"""Open streams and WebSockets end when their user loses access, and those of others go on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import ClientConnection, connect

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.keys import ApiKeyRecord, digest_of, new_key
from tests.processes.client import eventually
from tests.servers.profiles import PROFILES, served
from tests.servers.sqlite import current_data

CONFIG = Path(__file__).parent / "revocable.json"
WITHIN = 10


@pytest.fixture(params=PROFILES)
async def http(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[httpx.AsyncClient]:
    settings = {"access_check_seconds": 0.2, "heartbeat_seconds": 0.2}
    async with served(CONFIG, tmp_path, request, **settings) as url, httpx.AsyncClient(base_url=url) as client:
        yield client


def user(folder: Path, name: str) -> tuple[Path, dict[str, str]]:
    """A token, and the headers that show it."""
    token = folder / name
    token.touch()
    return token, {"authorization": f"Bearer {token}"}


async def read_until_cut(lines: AsyncIterator[str]) -> bool:
    """Whether the answer ended without its end."""
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
    # Nothing is lost: with access again, the thread is there as it was.
    assert (await http.get(f"/threads/{thread}", headers=alice)).status_code == 200


async def test_crons_of_a_revoked_key_are_suspended_until_their_user_shows_another(tmp_path: Path) -> None:
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
