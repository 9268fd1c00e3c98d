"""Searches that find more than an answer should hold."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from runstead.bootstrap.application import Application
from runstead.graphs.configuration import read_configuration
from runstead.settings import load_settings
from tests.servers.sqlite import current_data

from .conftest import GRAPHS

LARGE = "x" * 4_000


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Of a server with three threads, whose pages have room for the values of two."""
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
    # No thread is missing, and its values can be had.
    last, remark = await search(client, ids=[threads[-1]["thread_id"]])
    assert (contents(last), remark) == ([4_000], "")


async def test_a_page_without_values_has_nothing_to_omit(client: httpx.AsyncClient) -> None:
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
