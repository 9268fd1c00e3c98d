"""Auth handlers for assistants: filters, changed values, and refusals take effect."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import ConflictError, NotFoundError, PermissionDeniedError

from runstead.bootstrap.application import Application
from runstead.bootstrap.server import serving

from .conftest import ClientOf


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    config = Path(__file__).parent / "assistants.json"
    flags: dict[str, Any] = {"data_dir": tmp_path / "data", "port": 0, "shutdown_grace_seconds": 0.1}
    async with serving(Application.from_file(config, shared_assistants_scope="operator", **flags)) as url:
        yield url


@pytest.fixture
def client_of(url: str) -> ClientOf:
    """Return the client of a user; permissions follow the name."""
    return lambda token: get_client(url=url, api_key=None, headers={"Authorization": f"Bearer {token}"})


async def test_create_uses_the_values_the_handler_changed(client_of: ClientOf) -> None:
    made = await client_of("alice gold room-1").assistants.create(
        "teller", context={"plan": "platinum", "x": 1}, metadata={"k": "v", "room": "room-9"}, name="mine"
    )
    assert (made["context"], made["name"]) == ({"plan": "gold", "x": 1}, "MINE")
    assert made["config"] == {"configurable": {"plan": "gold", "x": 1}}
    assert made["metadata"] == {"k": "v", "room": "room-1"}
    bare = await client_of("alice").assistants.create("teller")
    assert (bare["context"], bare["name"], bare["metadata"]) == ({"plan": "free"}, "NAMELESS", {})


async def test_update_uses_the_values_the_handler_changed(client_of: ClientOf) -> None:
    alice = client_of("alice gold")
    made = await alice.assistants.create("teller")
    changed = await alice.assistants.update(made["assistant_id"], context={"plan": "gold", "y": 2}, name="n")
    assert (changed["context"], changed["name"]) == ({"plan": "free", "y": 2}, "n")
    assert (await alice.assistants.set_latest(made["assistant_id"], 13))["context"] == {"plan": "gold"}


async def test_assistant_outside_the_filter_is_not_found(client_of: ClientOf) -> None:
    """The permissions of the token restrict access to alice's own assistants."""
    first, second = client_of("alice room-1 janitor"), client_of("alice room-2 janitor")
    made = await first.assistants.create("teller", metadata={"n": 1})
    assistant_id = made["assistant_id"]
    for call in (
        second.assistants.get(assistant_id),
        second.assistants.update(assistant_id, name="x"),
        second.assistants.delete(assistant_id),
        second.assistants.get_versions(assistant_id),
        second.assistants.set_latest(assistant_id, 1),
        second.assistants.get_graph(assistant_id),
        second.assistants.get_schemas(assistant_id),
        second.assistants.get_subgraphs(assistant_id),
        second.assistants.get("teller"),
        second.runs.create(None, assistant_id, input={}),
    ):
        with pytest.raises(NotFoundError):
            await call
    for if_exists in ("raise", "do_nothing"):
        with pytest.raises(ConflictError):
            await second.assistants.create("teller", assistant_id=assistant_id, if_exists=if_exists)
    assert await second.assistants.search() == await second.assistants.search(metadata={"room": "room-1"}) == []
    assert await second.assistants.count() == 0
    assert [one["assistant_id"] for one in await first.assistants.search(metadata={"n": 1})] == [assistant_id]
    assert (await first.assistants.create("teller", assistant_id=assistant_id, if_exists="do_nothing")) == made
    assert await client_of("alice").assistants.get(assistant_id) == made
    with pytest.raises(NotFoundError):
        await client_of("bob").assistants.get(assistant_id)
    await first.assistants.delete(assistant_id)


async def test_request_the_handler_refuses_gets_403(client_of: ClientOf) -> None:
    made = await client_of("alice").assistants.create("teller")
    reader = client_of("alice reader")
    for call in (
        reader.assistants.create("teller"),
        reader.assistants.update(made["assistant_id"], name="x"),
        reader.assistants.set_latest(made["assistant_id"], 1),
        reader.assistants.delete(made["assistant_id"]),
        client_of("alice").assistants.delete(made["assistant_id"]),
    ):
        with pytest.raises(PermissionDeniedError):
            await call
    assert await reader.assistants.get(made["assistant_id"]) == made


async def test_delete_threads_deletes_only_permitted_threads(client_of: ClientOf) -> None:
    alice = client_of("alice janitor")
    made = await alice.assistants.create("teller")
    kept, gone = [await alice.threads.create(metadata={"kind": kind}) for kind in ("talk", "scratch")]
    for thread in (kept, gone):
        await alice.runs.wait(thread["thread_id"], made["assistant_id"], input={})
    with pytest.raises(PermissionDeniedError, match="Threads are evidence"):
        await client_of("alice janitor no-threads").assistants.delete(made["assistant_id"], delete_threads=True)
    assert await alice.assistants.get(made["assistant_id"]) == made
    await client_of("alice janitor tidy").assistants.delete(made["assistant_id"], delete_threads=True)
    assert (await alice.threads.get(kept["thread_id"]))["status"] == "idle"
    for call in (alice.threads.get(gone["thread_id"]), alice.assistants.get(made["assistant_id"])):
        with pytest.raises(NotFoundError):
            await call


async def test_delete_interrupts_only_permitted_runs(client_of: ClientOf) -> None:
    alice = client_of("alice janitor")
    made = await alice.assistants.create("teller")
    kept, stopped = [await alice.threads.create(metadata={"kind": kind}) for kind in ("talk", "scratch")]
    runs = [
        await alice.runs.create(thread["thread_id"], made["assistant_id"], input={}, after_seconds=0.6)
        for thread in (kept, stopped)
    ]
    with pytest.raises(PermissionDeniedError, match="Runs are not stopped here"):
        await client_of("alice janitor no-stops").assistants.delete(made["assistant_id"])
    assert await alice.assistants.get(made["assistant_id"]) == made
    await client_of("alice janitor tidy").assistants.delete(made["assistant_id"])
    for run in runs:
        await alice.runs.join(run["thread_id"], run["run_id"])
    ends = [(await alice.runs.get(run["thread_id"], run["run_id"]))["status"] for run in runs]
    assert ends == ["success", "interrupted"]


async def test_operator_permission_allows_updating_default_assistants(client_of: ClientOf) -> None:
    for who in ("alice", "alice gold janitor"):
        with pytest.raises(PermissionDeniedError, match="create one of your own"):
            await client_of(who).assistants.update("teller", metadata={"x": 1})
    changed = await client_of("olga operator").assistants.update("teller", metadata={"x": 1})
    assert changed["metadata"] == {"created_by": "system", "x": 1}
    assert await client_of(f"bob-{uuid.uuid4()}").assistants.get("teller") == changed
    # The handlers' filter applies to operators, too.
    with pytest.raises(NotFoundError):
        await client_of("olga operator room-1").assistants.update("teller", metadata={"x": 2})
