"""The actor from every way of authentication: all its fields reach graphs, and tenants separate users."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client

from runstead.auth.custom import CustomAuthentication
from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.bootstrap.unsupported import UnsupportedConfiguration
from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from runstead.runtime.actor_context import SERVER_ACTOR, ActorContext
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unavailable
from tests.servers.sqlite import current_data

from .oidc_issuer import AUDIENCE, running_issuer

FOLDER = Path(__file__).parent
WAYS = ("keys", "oidc", "langgraph", "custom")


def application_of(folder: Path, config: str = "identity.json", **settings: Any) -> Application:
    data = current_data(folder / "data")
    return Application.from_file(FOLDER / config, data_dir=data, port=0, shutdown_grace_seconds=0.1, **settings)


@asynccontextmanager
async def users_of(way: str, folder: Path) -> AsyncIterator[tuple[str, dict[str, str]]]:
    """Yield a server's URL and the bearer of alice in each of two tenants."""
    if way == "oidc":
        with running_issuer() as issuer:
            found: dict[str, Any] = {
                "oidc_issuer": issuer.issuer,
                "oidc_audience": (AUDIENCE,),
                "oidc_tenant_claim": "org",
            }
            bearers = {
                tenant: issuer.token(datetime.now(UTC), org=tenant, sub="alice", scope="write")
                for tenant in ("acme", "umbrella")
            }
            async with serving(application_of(folder, **found)) as url:
                yield url, bearers
        return
    bearers = {tenant: tenant for tenant in ("acme", "umbrella")}
    if way == "keys":
        data = current_data(folder / "data")
        async with open_storage(data / RUNS_FILE) as database:
            for number, tenant in enumerate(bearers):
                bearers[tenant] = new_key()
                digest = digest_of(bearers[tenant])
                record = ApiKeyRecord(f"key_{number}", "k", digest, "alice", tenant, ("write",), datetime.now(UTC))
                await SqlApiKeyStore(database).add(record)
    settings: dict[str, Any] = {
        "keys": {"auth": "keys"},
        "langgraph": {"config": "identity_handlers.json"},
        "custom": {"authenticator": "./identity_graphs.py:OwnAuthenticator"},
    }[way]
    async with serving(application_of(folder, **settings)) as url:
        yield url, bearers


@pytest.mark.parametrize("way", WAYS)
async def test_users_of_one_name_in_two_tenants_share_nothing(way: str, tmp_path: Path) -> None:
    async with users_of(way, tmp_path) as (url, bearers):
        clients = {
            tenant: get_client(url=url, api_key=None, headers={"authorization": f"Bearer {bearer}"})
            for tenant, bearer in bearers.items()
        }
        threads = {}
        for tenant, client in clients.items():
            threads[tenant] = (await client.threads.create())["thread_id"]
            forged = {"configurable": {"runstead_actor": {"user_id": "root"}, "tenant_id": "forged"}}
            told: Any = await client.runs.wait(threads[tenant], "who", input={}, config=forged)  # type: ignore[call-overload]
            who = told["who"]
            assert who == told["configured"]
            assert (who["tenant_id"], who["user_id"], who["scopes"]) == (tenant, "alice", ["write"])
            assert who["subject_id"]
            assert who["auth_source"] == {"keys": "api_key", "langgraph": "langgraph_auth", "custom": "sso"}.get(
                way, way
            )
            await client.store.put_item(["notes"], "k", {"of": tenant})
        async with httpx.AsyncClient(base_url=url) as http:
            for tenant, client in clients.items():
                (other,) = set(threads) - {tenant}
                assert [one["thread_id"] for one in await client.threads.search()] == [threads[tenant]]
                assert (await client.store.get_item(["notes"], "k"))["value"] == {"of": tenant}
                bearer = {"authorization": f"Bearer {bearers[tenant]}"}
                for path in ("", "/state", "/history", "/messages", "/runs", "/stream"):
                    seen = await http.get(f"/threads/{threads[other]}{path}", headers=bearer)
                    assert seen.status_code == 404, path
                # What graphs know of the actor is not shown to readers.
                state = await http.get(f"/threads/{threads[tenant]}/state", headers=bearer)
                assert "runstead_actor" not in json.dumps([state.json()["metadata"], state.json()["checkpoint"]])
            assert (await http.get(f"/threads/{uuid.uuid4()}")).status_code == 401


async def test_node_cannot_use_threads_of_others_through_the_checkpointer(tmp_path: Path) -> None:
    async with users_of("custom", tmp_path) as (url, bearers):
        alice, stranger = (
            get_client(url=url, api_key=None, headers={"authorization": f"Bearer {bearers[tenant]}"})
            for tenant in ("acme", "umbrella")
        )
        theirs, own, another = [(await client.threads.create())["thread_id"] for client in (stranger, alice, alice)]
        for client, thread in ((stranger, theirs), (alice, another)):
            await client.runs.wait(thread, "who", input={})
        before = await stranger.threads.get_state(theirs)

        async def pried(thread: str) -> dict[str, Any]:
            found: Any = await alice.runs.wait(own, "prying", input={"who": {"thread": thread}})
            return dict(found["who"])

        foreign = await pried(theirs)
        assert foreign.pop("threads") == [own]
        assert foreign == dict.fromkeys(("read", "list", "write", "delete", "invoke"), "ForeignThread")
        assert await stranger.threads.get_state(theirs) == before
        # Threads of the same user, and ids that no thread has, can be used.
        for thread in (another, str(uuid.uuid4())):
            allowed = await pried(thread)
            assert allowed["threads"] == [own]
            assert "ForeignThread" not in allowed.values()


async def test_expired_key_is_refused(tmp_path: Path) -> None:
    data, key, now = current_data(tmp_path / "data"), new_key(), datetime.now(UTC)
    async with open_storage(data / RUNS_FILE) as database:
        record = ApiKeyRecord(
            "key_1", "k", digest_of(key), "alice", "acme", (), now, expires_at=now - timedelta(seconds=1)
        )
        await SqlApiKeyStore(database).add(record)
    async with serving(application_of(tmp_path, auth="keys")) as url, httpx.AsyncClient(base_url=url) as http:
        refused = await http.post("/threads", json={}, headers={"x-api-key": key})
        assert (refused.status_code, refused.json()["detail"]) == (401, "This API key has expired; get a new one")


async def test_own_authenticator_cannot_return_a_reserved_user() -> None:
    class Careless:
        def __init__(self, answer: Any) -> None:
            self.answer = answer

        async def authenticate(self, _: Credentials) -> Any:
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer

    reserved = (SERVER_ACTOR, ActorContext("alice", tenant_id="runstead:unauthenticated"))
    for answer in (*reserved, ActorContext("alice", auth_source="api_key"), None, "alice", KeyError("x")):
        with pytest.raises(Unavailable):
            await CustomAuthentication(Careless(answer)).authenticate(Credentials("GET", "/", {}))


@pytest.mark.parametrize("target", ["./identity_graphs.py:graph", "./identity_graphs.py:missing", "nowhere:x", "x"])
async def test_server_does_not_start_with_an_unusable_authenticator(target: str, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedConfiguration, match="authenticator"):
        async with application_of(tmp_path, authenticator=target).running():
            pass
