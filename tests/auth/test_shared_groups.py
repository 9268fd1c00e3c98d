"""Filters with ``$or`` share like others, and an invalid filter is reported."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph_sdk.errors import NotFoundError

from tests.servers.profiles import PROFILES, served

from .conftest import ClientOf

ALICE, GUEST, EVE = "alice acme everything", "bob other everything invited", "eve other everything invited"


@pytest.fixture(params=PROFILES)
async def url(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[str]:
    async with served(Path(__file__).parent / "sharing.json", tmp_path, request) as url:
        yield url


async def test_filter_with_or_matches_on_one_branch(client_of: ClientOf) -> None:
    alice, guest, eve = client_of(ALICE), client_of(GUEST), client_of(EVE)
    members: dict[str, Any] = {"members": ["bob"], "org": "acme"}
    shared = (await alice.threads.create(metadata=members))["thread_id"]
    private = (await alice.threads.create(metadata={"members": []}))["thread_id"]
    assistant = await alice.assistants.create("clerk", metadata=members)
    cron = await alice.crons.create(assistant["assistant_id"], schedule="0 0 29 2 *", input={}, metadata=members)
    assert await guest.runs.wait(shared, assistant["assistant_id"], input={}) == {"said": ["bob"]}
    assert [one["thread_id"] for one in await guest.threads.search()] == [shared]
    assert await guest.threads.count() == 1
    assert len(await guest.runs.list(shared)) == 1
    assert (await guest.assistants.get(assistant["assistant_id"]))["metadata"] == members
    assert [one["cron_id"] for one in await guest.crons.search()] == [cron["cron_id"]]
    assert (await guest.threads.update(shared, metadata={"x": 1}))["metadata"]["x"] == 1
    for call in (
        guest.threads.get(private),
        eve.threads.get(shared),
        eve.runs.create(shared, "clerk", input={}),
        eve.assistants.get(assistant["assistant_id"]),
        eve.crons.delete(cron["cron_id"]),
        eve.threads.delete(shared),
    ):
        with pytest.raises(NotFoundError):
            await call
    await guest.threads.delete(shared)
    assert [one["thread_id"] for one in await alice.threads.search()] == [private]


async def test_invalid_filter_is_reported(url: str) -> None:
    headers = {"authorization": "Bearer alice acme everything broken"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        answers: list[Any] = [
            await client.post("/threads/search", json={}),
            await client.post("/threads", json={}),
            await client.post("/runs", json={"assistant_id": "clerk"}),
            await client.post("/assistants/search", json={}),
        ]
    told = {(one.status_code, one.json()["detail"]) for one in answers}
    said = "This server's auth handler returned a filter that cannot be applied: $or takes a list of at least 2 filters"
    assert told == {(500, said)}
