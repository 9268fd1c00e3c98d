"""Admins and operators by scope, and the audit log: what was done, by whom, where, in a chain that shows changes."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk import get_client
from typer.testing import CliRunner

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving
from runstead.cli.main import app
from runstead.gateway.auth.audit import AuditLog
from runstead.gateway.auth.failed_logins import UNAUTHENTICATED, RecordedLogins
from runstead.infra.engines.data_dir import RUNS_FILE
from runstead.infra.storage.api_keys import SqlApiKeyStore
from runstead.infra.storage.sqlite import open_storage
from runstead.resources.api_keys import ApiKeyRecord, digest_of, new_key
from runstead.resources.audit import AuditEntry, AuditFilter, AuditRecord, ChainCheck, redacted
from runstead.runtime.actor_context import ActorContext
from runstead.testing.clock import ManualClock
from runstead.wire.credentials import Credentials
from runstead.wire.errors import Unauthenticated
from tests.servers.sqlite import current_data

FOLDER = Path(__file__).parent
USERS = {
    "alice": ("acme", ()),
    "carol": ("acme", ("admin",)),
    "olga": ("ops", ("operator",)),
    "umbrella-alice": ("umbrella", ()),
}


@pytest.fixture
async def keys(tmp_path: Path) -> dict[str, str]:
    """A key of each user; the last is another alice."""
    made = {}
    async with open_storage(current_data(tmp_path / "data") / RUNS_FILE) as database:
        for name, (tenant, scopes) in USERS.items():
            made[name] = new_key()
            user, now = name.removeprefix("umbrella-"), datetime.now(UTC)
            record = ApiKeyRecord(f"key_{name}", name, digest_of(made[name]), user, tenant, scopes, now)
            await SqlApiKeyStore(database).add(record)
    return made


@pytest.fixture
async def url(tmp_path: Path, keys: dict[str, str]) -> AsyncIterator[str]:
    application = Application.from_file(
        FOLDER / "roles.json",
        data_dir=tmp_path / "data",
        port=0,
        auth="keys",
        admin_scope="admin",
        operator_scope="operator",
        shutdown_grace_seconds=0.1,
    )
    async with serving(application) as url:
        yield url


def client_of(url: str, key: str, tenant: str | None = None) -> Any:
    return get_client(url=url, api_key=key, headers={"x-runstead-tenant": tenant} if tenant else None)


async def status_of(url: str, path: str, key: str, tenant: str | None = None) -> int:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        headers = {"x-api-key": key, **({"x-runstead-tenant": tenant} if tenant else {})}
        return (await http.get(path, headers=headers)).status_code


async def audit_of(url: str, key: str, tenant: str | None = None, **where: Any) -> list[dict[str, Any]]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        headers = {"x-api-key": key, **({"x-runstead-tenant": tenant} if tenant else {})}
        found = await http.get("/audit", params=where, headers=headers)
        assert found.status_code == 200, found.text
        entries: list[dict[str, Any]] = found.json()
        return entries


async def test_admin_reaches_their_tenant_and_operator_the_tenant_they_name(url: str, keys: dict[str, str]) -> None:
    alice, other = client_of(url, keys["alice"]), client_of(url, keys["umbrella-alice"])
    thread, foreign = (await alice.threads.create())["thread_id"], (await other.threads.create())["thread_id"]
    await alice.runs.wait(thread, "asker", input={})
    await alice.store.put_item(["notes"], "k", {"x": 1})
    mine, theirs = f"/threads/{thread}", f"/threads/{foreign}"
    for path in (mine, f"{mine}/state", f"{mine}/runs", f"{mine}/messages"):
        assert await status_of(url, path, keys["carol"]) == 200, path
        assert await status_of(url, path, keys["olga"], "acme") == 200, path
        assert await status_of(url, path, keys["umbrella-alice"]) == 404, path
        assert await status_of(url, path, keys["olga"]) == 404, path
    assert await status_of(url, theirs, keys["carol"]) == 404
    assert await status_of(url, theirs, keys["carol"], "umbrella") == 403
    assert await status_of(url, theirs, keys["olga"], "umbrella") == 200
    carol = client_of(url, keys["carol"])
    assert [one["thread_id"] for one in await carol.threads.search()] == [thread]
    # Items are private, also from admins, and an operator has no namesake.
    assert (await carol.store.search_items([]))["items"] == []
    await carol.threads.delete(thread)
    assert await status_of(url, mine, keys["alice"]) == 404


async def test_usage_is_that_of_the_user_the_tenant_or_all(url: str, keys: dict[str, str]) -> None:
    for name in ("alice", "umbrella-alice"):
        await client_of(url, keys[name]).runs.wait(None, "speaker", input={})

    async def seen(name: str, tenant: str | None = None) -> list[tuple[str, str]]:
        found = await client_of(url, keys[name], tenant).http.get("/usage", params={"group_by": "tenant,user"})
        return [(one["tenant"], one["user"]) for one in found["data"]]

    acme, umbrella = ("acme", "alice"), ("umbrella", "alice")
    assert await seen("alice") == [acme]
    assert await seen("umbrella-alice") == [umbrella]
    assert await seen("carol") == [acme]
    assert await seen("olga") == [acme, umbrella]
    assert await seen("olga", "umbrella") == [umbrella]


async def test_audit_log_names_who_did_what_to_which_id_from_where(
    url: str, keys: dict[str, str], tmp_path: Path
) -> None:
    alice = client_of(url, keys["alice"])
    thread = (await alice.threads.create())["thread_id"]
    await alice.runs.wait(thread, "asker", input={})
    answer = {"decisions": [{"type": "approve"}], "password": "hunter2", "note": f"Bearer {keys['alice']}"}
    await alice.runs.wait(thread, "asker", command={"resume": answer})
    await alice.threads.get(thread)
    await client_of(url, keys["carol"]).threads.get(thread)
    await client_of(url, keys["olga"], "acme").threads.delete(thread)
    for name in ("alice", "umbrella-alice"):
        assert await status_of(url, "/audit", keys[name]) == 403

    entries = await audit_of(url, keys["carol"])
    told = [(one["user_id"], one["action"], one["status"], one["role"]) for one in reversed(entries)]
    assert told == [
        ("alice", "threads.create", 200, None),
        ("alice", "threads.create_run", 200, None),
        ("alice", "threads.create_run", 200, None),
        ("carol", "threads.read", 200, "admin"),
        ("runstead:operator/ops/olga", "threads.delete", 204, "operator"),
        ("alice", "audit.read", 403, None),
    ]
    decided = next(one for one in entries if "decision" in one["details"])
    assert decided["details"]["decision"] == {
        "decisions": [{"type": "approve"}],
        "password": "[redacted]",
        "note": "[redacted]",
    }
    assert (decided["target"]["thread_id"], decided["client"], decided["subject_id"], decided["auth_source"]) == (
        thread,
        "127.0.0.1",
        "key_alice",
        "api_key",
    )
    assert decided["target"]["run_id"]
    by_target = await audit_of(url, keys["carol"], target_id=thread, action="threads.delete")
    assert [one["action"] for one in by_target] == ["threads.delete"]
    assert {one["tenant_id"] for one in await audit_of(url, keys["olga"], "umbrella")} == {"umbrella"}
    checked = await cli(tmp_path, "verify")
    assert (checked["entries"], checked["broken_at"]) == (len(await everything(tmp_path)), None)


async def test_failed_logins_are_recorded_for_operators_in_few_entries(url: str, keys: dict[str, str]) -> None:
    wrong = new_key()
    for path in ("/threads/x", *["/threads/search"] * 11):
        assert await status_of(url, path, wrong) == 401
    assert await status_of(url, "/ok", wrong) == 200
    assert [one for one in await audit_of(url, keys["carol"]) if one["action"] == "login"] == []
    entries = await audit_of(url, keys["olga"], UNAUTHENTICATED.tenant_id, action="login")
    assert [(one["route"], one["status"], one["client"], one["details"]["failures"]) for one in entries] == [
        ("GET /threads/search", 401, "127.0.0.1", 10),
        ("GET /threads/x", 401, "127.0.0.1", 1),
    ]
    assert wrong not in json.dumps(entries)


async def test_failed_logins_of_many_addresses_are_counted_together() -> None:
    store, clock = KeptEntries(), ManualClock()
    logins = RecordedLogins(NoLogin(), lambda: AuditLog(store, clock))

    async def fail(*addresses: str) -> list[tuple[str | None, int]]:
        store.entries.clear()
        for address in addresses:
            with pytest.raises(Unauthenticated):
                await logins.authenticate(Credentials("GET", "/threads", {}, client=address))
        return [(one.client, one.details["failures"]) for one in store.entries]

    first = [f"10.0.{n // 250}.{n % 250}" for n in range(1000)]
    assert await fail(*first) == [(address, 1) for address in first]
    assert await fail(*(f"10.9.{n // 250}.{n % 250}" for n in range(1000))) == [
        (None, 1),
        (None, 10),
        (None, 100),
        (None, 1000),
    ]
    assert await fail("10.0.0.0") == []
    await clock.advance(3601)
    assert await fail("10.9.0.0") == [("10.9.0.0", 1)]


class NoLogin:
    """Authenticator that accepts no one."""

    async def authenticate(self, credentials: Credentials) -> ActorContext:
        raise Unauthenticated("wrong key")


class KeptEntries:
    """Audit store in memory, for tests that only append."""

    def __init__(self) -> None:
        self.entries: list[AuditEntry] = []

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        self.entries.extend(entries)

    async def search(self, where: AuditFilter, *, limit: int) -> Sequence[AuditRecord]:
        raise NotImplementedError

    async def verify(self) -> ChainCheck:
        raise NotImplementedError


async def test_changed_or_deleted_audit_entry_is_refused_and_found(
    url: str, keys: dict[str, str], tmp_path: Path
) -> None:
    alice = client_of(url, keys["alice"])
    await asyncio.gather(*(alice.threads.create() for _ in range(8)))
    with sqlite3.connect(tmp_path / "data" / RUNS_FILE, isolation_level=None) as database:
        for statement in ("UPDATE audit_log SET user_id = 'bob' WHERE seq = 3", "DELETE FROM audit_log WHERE seq = 3"):
            with pytest.raises(sqlite3.DatabaseError, match="append-only"):
                database.execute(statement)
        assert (await cli(tmp_path, "verify"))["entries"] == 8
        # By someone who may change the schema too.
        database.execute("DROP TRIGGER audit_log_no_update")
        database.execute("UPDATE audit_log SET user_id = 'bob' WHERE seq = 3")
    database.close()
    assert (await cli(tmp_path, "verify", exit_code=1))["broken_at"] == 3


async def cli(tmp_path: Path, *arguments: str, exit_code: int = 0) -> dict[str, Any]:
    command = ["audit", *arguments, "--data-dir", str(tmp_path / "data"), "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    assert done.exit_code == exit_code, done.output
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[0])
    return found


async def everything(tmp_path: Path) -> list[str]:
    command = ["audit", "ls", "--limit", "1000", "--data-dir", str(tmp_path / "data"), "--json"]
    done = await asyncio.to_thread(CliRunner().invoke, app, command)
    return done.stdout.splitlines()


def test_redacted_values_hold_no_secret_and_are_bounded() -> None:
    deep: Any = "x" * 1000
    for _ in range(10):
        deep = {"a": deep, "list": ["rsk_abcdefgh1234"] * 100}
    text = json.dumps(redacted({"deep": deep, "apiKey": "k1", "Authorization": "k2", "jwt": "eyJh.eyJz.c2ln"}))
    assert not any(secret in text for secret in ("k1", "k2", "eyJ", "rsk_"))
    assert len(text) < 20_000
