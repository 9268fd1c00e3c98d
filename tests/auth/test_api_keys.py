"""API keys of Runstead: created and revoked while the server runs, accepted in either header, and never stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError
from typer.testing import CliRunner

from runstead.auth.api_keys import ApiKeyAuthentication
from runstead.bootstrap.server import serving
from runstead.cli.main import app
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from runstead.testing.clock import ManualClock
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated

from .conftest import application_of


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    async with serving(application_of(tmp_path / "data", auth="keys")) as url:
        yield url


async def cli(tmp_path: Path, *arguments: str, exit_code: int = 0) -> list[dict[str, Any]]:
    """Output of ``runstead keys``, line by line."""
    command = ["keys", *arguments, "--data-dir", str(tmp_path / "data"), "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == exit_code, done.output
    return [json.loads(line) for line in done.stdout.splitlines()]


async def test_key_acts_for_its_user_until_it_is_revoked(url: str, tmp_path: Path) -> None:
    (made,) = await cli(tmp_path, "create", "--user", "alice", "--scope", "write", "--name", "laptop")
    (other,) = await cli(tmp_path, "create", "--user", "bob")
    # Unmodified clients send their key as x-api-key.
    alice, bob = get_client(url=url, api_key=made["key"]), get_client(url=url, api_key=other["key"])
    thread = (await alice.threads.create())["thread_id"]
    observed = (await alice.runs.wait(thread, "teller", input={}))["observed"]  # type: ignore[call-overload]
    assert (observed["user_id"], observed["langgraph_auth_permissions"]) == ("alice", ["write"])
    with pytest.raises(NotFoundError):
        await bob.threads.get(thread)
    async with httpx.AsyncClient(base_url=url) as http:
        bearer = {"authorization": f"bearer {made['key']}"}
        assert (await http.get(f"/threads/{thread}", headers=bearer)).status_code == 200
        assert await cli(tmp_path, "revoke", made["key_id"]) == [{"event": "revoked", "key_id": made["key_id"]}]
        refused = await http.get(f"/threads/{thread}", headers=bearer)
        assert (refused.status_code, refused.json()) == (401, {"detail": "This API key is not valid"})
        for shown in ({}, {"x-api-key": "rsk_x"}, {"authorization": "Basic eDp5"}, {"x-api-key": ""}):
            refused = await http.post("/threads", json={}, headers=shown)
            assert (refused.status_code, list(refused.json())) == (401, ["detail"])
        assert (await http.get("/ok")).status_code == 200


async def test_list_keys_omits_secrets(tmp_path: Path) -> None:
    (made,) = await cli(tmp_path, "create", "--user", "alice", "--tenant", "acme", "--name", "laptop")
    (listed,) = await cli(tmp_path, "ls")
    assert (listed["user_id"], listed["tenant_id"], listed["name"]) == ("alice", "acme", "laptop")
    assert (listed["last_used_at"], listed["revoked_at"]) == (None, None)
    assert made["key"] not in json.dumps(listed)
    assert [file.name for file in (tmp_path / "data").iterdir() if made["key"].encode() in file.read_bytes()] == []
    (refused,) = await cli(tmp_path, "revoke", "key_nope", exit_code=1)
    assert refused["error"] == "there is no key key_nope"
    await cli(tmp_path, "revoke", made["key_id"])
    (revoked,) = await cli(tmp_path, "ls")
    await cli(tmp_path, "revoke", made["key_id"])
    assert (await cli(tmp_path, "ls"))[0]["revoked_at"] == revoked["revoked_at"] is not None


async def test_last_used_time_of_a_key_is_exact_to_the_minute(tmp_path: Path) -> None:
    clock, key = ManualClock(), new_key()
    assert len(key) > 40
    async with open_storage(tmp_path / "keys.db") as database:
        keys = SqlApiKeyStore(database)
        await keys.add(ApiKeyRecord("k-1", "laptop", digest_of(key), "alice", "acme", ("a", "b"), clock.now()))
        door = ApiKeyAuthentication(keys, clock)
        shown = Credentials("GET", "/", {"x-api-key": key})
        actor = await door.authenticate(shown)
        assert (actor.user_id, actor.tenant_id, actor.subject_id) == ("alice", "acme", "k-1")
        assert (actor.scopes, actor.auth_source) == (frozenset(("a", "b")), "api_key")
        first = clock.now()
        for seconds, known in ((30, first), (31, first + timedelta(seconds=61))):
            await clock.advance(seconds)
            await door.authenticate(shown)
            (record,) = await keys.list_keys()
            assert record.last_used_at == known
        with pytest.raises(Unauthenticated):
            await door.authenticate(Credentials("GET", "/", {"x-api-key": key[:-1]}))


@pytest.mark.parametrize("odd", ["", "\ud800", "nul\0", "x" * 100_000])
async def test_malformed_key_is_unauthenticated(odd: str, tmp_path: Path) -> None:
    async with open_storage(tmp_path / "keys.db") as database:
        door = ApiKeyAuthentication(SqlApiKeyStore(database), ManualClock())
        with pytest.raises(Unauthenticated):
            await door.authenticate(Credentials("GET", "/", {"x-api-key": odd}))
