"""Searches that find more than a response may hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.base import empty_checkpoint

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.infra.checkpoints.driver import driver_of
from runstead.infra.checkpoints.queries import PAGE_BYTES, Wanted, page
from runstead.infra.checkpoints.sqlite import open_checkpoints
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .conftest import GRAPHS

LARGE = "x" * 4_000


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Client of a server with three threads, whose pages hold the values of two."""
    flags = {"data_dir": current_data(tmp_path / "data"), "port": 0, "max_page_bytes": 10_000}
    application = Application(load_settings(flags, project=tmp_path), read_configuration(GRAPHS))
    transport = httpx.ASGITransport(application.asgi)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for _ in range(3):
            thread = (await client.post("/threads", json={"metadata": {"graph_id": "agent"}})).json()["thread_id"]
            said = {"values": {"messages": [{"role": "user", "content": LARGE}]}}
            assert (await client.post(f"/threads/{thread}/state", json=said)).status_code == 200
        yield client


async def search(client: httpx.AsyncClient, **body: Any) -> tuple[list[Any], str]:
    answer = await client.post("/threads/search", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json(), answer.headers.get("runstead-remark", "")


def contents(threads: list[Any]) -> list[int]:
    return [len(thread["values"]["messages"][0]["content"]) if thread["values"] else 0 for thread in threads]


async def test_values_beyond_the_page_limit_are_omitted_with_a_remark(client: httpx.AsyncClient) -> None:
    threads, remark = await search(client)
    assert contents(threads) == [4_000, 4_000, 0]
    assert "values of 1 threads are omitted" in remark
    # No thread is missing, and its values can be read.
    last, remark = await search(client, ids=[threads[-1]["thread_id"]])
    assert (contents(last), remark) == ([4_000], "")


async def test_page_without_values_has_no_remark(client: httpx.AsyncClient) -> None:
    threads, remark = await search(client, select=["thread_id", "status"])
    assert len(threads) == 3
    assert remark == ""


async def test_values_are_read_where_they_are_selected_or_extracted(client: httpx.AsyncClient) -> None:
    selected, remark = await search(client, select=["values"], limit=2)
    assert (contents(selected), remark) == ([4_000, 4_000], "")
    extracted, remark = await search(
        client, select=["thread_id"], extract={"last": "values.messages[-1].content"}, limit=2
    )
    assert [len(thread["extracted"]["last"]) for thread in extracted] == [4_000, 4_000]
    assert remark == ""
    _, remark = await search(client, select=["thread_id"], extract={"last": "values.messages[-1].content"})
    assert "values of 1 threads are omitted" in remark


RUN = {"messages": [{"role": "user", "content": LARGE}]}


@pytest.fixture
async def filled(client: httpx.AsyncClient) -> str:
    """A thread with three turns, three assistants, crons and items, each with a large text; return the thread's id."""
    thread_id: str = (await client.post("/threads", json={})).json()["thread_id"]
    for number in range(3):
        given = {"assistant_id": "agent", "input": RUN}
        assert (await client.post(f"/threads/{thread_id}/runs/wait", json=given)).status_code == 200
        made = {"graph_id": "agent", "context": {"who": LARGE}, "metadata": {"large": True}}
        assert (await client.post("/assistants", json=made)).status_code == 200
        cron = {"assistant_id": "agent", "schedule": "0 0 1 1 *", "input": {"text": LARGE}}
        assert (await client.post("/runs/crons", json=cron)).status_code == 200
        item = {"namespace": ["notes"], "key": str(number), "value": {"text": LARGE}}
        assert (await client.put("/store/items", json=item)).status_code == 204
    return thread_id


async def pages(client: httpx.AsyncClient, method: str, path: str, key: str | None = None) -> list[tuple[int, bool]]:
    """Follow offsets to the last page; return each page's number of entries, and True if it is marked as cut."""
    found, offset = [], 0
    while True:
        place = {"limit": 3, "offset": offset}
        body: dict[str, Any] = dict(place)
        if path == "/assistants/search":
            body["metadata"] = {"large": True}
        if path == "/store/items/search":
            body["namespace_prefix"] = []
        answer = await (client.get(path, params=place) if method == "GET" else client.post(path, json=body))
        assert answer.status_code == 200, answer.text
        entries = answer.json() if key is None else answer.json()[key]
        is_cut = "the page is cut after" in answer.headers.get("runstead-remark", "")
        found.append((len(entries), is_cut))
        offset += len(entries)
        if "x-pagination-total" in answer.headers:
            assert int(answer.headers["x-pagination-total"]) == 3
            assert ("x-pagination-next" in answer.headers) == (offset < 3) == is_cut
        if not is_cut:
            return found


async def test_list_page_ends_at_its_byte_limit_and_the_next_continues(client: httpx.AsyncClient, filled: str) -> None:
    cut = [(2, True), (1, False)]
    # A run has its text as input and as output, an assistant as context and in its config.
    twice = [(1, True), (1, True), (1, False)]
    assert await pages(client, "GET", f"/threads/{filled}/runs") == twice
    assert await pages(client, "POST", "/assistants/search") == twice
    assert await pages(client, "POST", "/runs/crons/search") == cut
    assert await pages(client, "POST", "/store/items/search", "items") == cut
    for search in ({"filter": {"text": LARGE}}, {"query": LARGE}):
        answer = await client.post("/store/items/search", json={"namespace_prefix": ["notes"], **search})
        assert (len(answer.json()["items"]), "is cut after 2" in answer.headers["runstead-remark"]) == (2, True)


async def test_history_page_ends_at_its_byte_limit_and_the_next_continues(
    client: httpx.AsyncClient, filled: str
) -> None:
    seen: list[str] = []
    before: dict[str, Any] = {}
    while True:
        answer = await client.post(f"/threads/{filled}/history", json={"limit": 100, **before})
        states = answer.json()
        seen += [state["checkpoint"]["checkpoint_id"] for state in states]
        if "is cut after" not in answer.headers.get("runstead-remark", ""):
            break
        assert len(states) >= 1
        before = {"before": states[-1]["checkpoint"]}
    # Three turns make three checkpoints each.
    assert (len(seen), len(set(seen))) == (9, 9)


async def test_large_checkpoints_are_read_in_small_batches(tmp_path: Path) -> None:
    async with open_checkpoints(tmp_path / "checkpoints.db") as store:
        for number in range(6):
            checkpoint: Any = {
                **empty_checkpoint(),
                "id": f"c-{number}",
                "channel_values": {"text": "x" * (PAGE_BYTES // 2)},
            }
            place: Any = {"configurable": {"thread_id": "t-1", "checkpoint_ns": ""}}
            await store.saver.aput(place, checkpoint, {"source": "loop", "step": number, "parents": {}}, {})
        wanted = Wanted.of(place, None)
        found, after = await store.database.read(
            lambda connection: page(driver_of(connection), store.saver.serde, wanted, None, {}, 50)
        )
        assert (len(found), after is not None) == (1, True)
        everything = [one.checkpoint["id"] async for one in store.saver.alist(place)]
    assert everything == [f"c-{number}" for number in reversed(range(6))]
