"""A failing storage: clients get an error with a remedy, and the log has the details."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from sqlalchemy import Connection

from runstead.bootstrap.application import Application

RUN = {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": "hi"}]}}


@asynccontextmanager
async def set_in(application: Application, trouble: str, cure: str | None = None) -> AsyncIterator[None]:
    """The writing connection fails for the length of a block; permanently without a cure."""

    async def pragma(text: str) -> None:
        def work(connection: Connection) -> None:
            connection.exec_driver_sql(f"PRAGMA {text}")

        await application.services.threads._database.write(work)  # type: ignore[attr-defined]

    await pragma(trouble)
    try:
        yield
    finally:
        if cure is not None:
            await pragma(cure)


@pytest.fixture
async def raw(application: Application) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(application.asgi, raise_app_exceptions=False)
    async with application.running(), httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


async def test_full_disk_answers_with_a_server_error_and_remedy(
    application: Application, raw: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async with set_in(application, "max_page_count = 1", "max_page_count = 4294967294"):
        with caplog.at_level(logging.ERROR):
            body = {"metadata": {"big": "x" * 40_000}}
            answers = [await raw.post("/threads", json=body) for _ in range(3)]
    (answer, *_) = answers
    assert answer.status_code == 507
    assert "disk is full" in answer.json()["detail"]
    assert "Free some space" in answer.json()["detail"]
    assert "runstead.db" not in answer.text
    assert "runstead.db" in caplog.text
    assert "Traceback" not in caplog.text
    assert (await raw.post("/threads", json={})).status_code == 200


@pytest.mark.parametrize("path", ["runs", "runs/wait", "runs/stream"])
async def test_read_only_storage_answers_503_and_still_reads(
    application: Application, raw: httpx.AsyncClient, path: str
) -> None:
    thread_id = (await raw.post("/threads", json={})).json()["thread_id"]
    async with set_in(application, "query_only = ON"):
        answer = await raw.post(f"/threads/{thread_id}/{path}", json=RUN)
    assert answer.status_code == 503
    assert "read-only" in answer.json()["detail"]
    # Existing data can still be read.
    assert (await raw.get(f"/threads/{thread_id}")).status_code == 200


async def test_locked_storage_answers_503_with_retry_after(application: Application, raw: httpx.AsyncClient) -> None:
    thread_id = (await raw.post("/threads", json={})).json()["thread_id"]
    other = sqlite3.connect(application.settings.data_dir / "runstead.db", isolation_level=None)
    async with set_in(application, "busy_timeout = 20", "busy_timeout = 5000"):
        other.execute("BEGIN IMMEDIATE")
        answer = await raw.post(f"/threads/{thread_id}/runs", json=RUN)
        other.execute("ROLLBACK")
        other.close()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert "locked" in answer.json()["detail"]
