"""A thread whose state is older than the end of its last run reports that, and no other thread does."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


async def turn(client: httpx.AsyncClient, thread_id: str, text: str) -> None:
    answer = await client.post(
        f"/threads/{thread_id}/runs/wait",
        json={"assistant_id": "agent", "input": {"messages": [{"role": "user", "content": text}]}},
    )
    assert answer.status_code == 200, answer.text


async def a_thread(client: httpx.AsyncClient, *turns: str) -> str:
    thread_id: str = (await client.post("/threads", json={})).json()["thread_id"]
    for text in turns:
        await turn(client, thread_id, text)
    return thread_id


def lose(data: Path, thread_id: str, keep: int) -> None:
    """The effect of power loss, or of a file from an older backup, on the newest checkpoints of a thread."""
    with closing(sqlite3.connect(data / "checkpoints.db")) as connection:
        rows = connection.execute(
            "SELECT checkpoint_id FROM checkpoints WHERE thread_id = ? ORDER BY position", (thread_id,)
        ).fetchall()
        assert len(rows) > keep
        lost = [(thread_id, row[0]) for row in rows[keep:]]
        connection.executemany("DELETE FROM checkpoints WHERE thread_id = ? AND checkpoint_id = ?", lost)
        connection.commit()


async def remarks(client: httpx.AsyncClient, thread_id: str) -> list[str | None]:
    paths = (f"/threads/{thread_id}/state", f"/threads/{thread_id}/history")
    answers = [await client.get(path) for path in paths]
    assert [answer.status_code for answer in answers] == [200, 200]
    return [answer.headers.get("runstead-remark") for answer in answers]


# A turn of this graph creates three checkpoints.
@pytest.mark.parametrize(("keep", "in_history"), [(3, True), (5, True), (0, False)])
async def test_state_without_the_last_run_has_a_remark(
    keep: int, in_history: bool, client: httpx.AsyncClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    thread_id = await a_thread(client, "one", "two")
    other = await a_thread(client, "one")
    lose(tmp_path / "data", thread_id, keep)
    with caplog.at_level(logging.ERROR):
        said = await remarks(client, thread_id)
        again = await remarks(client, thread_id)
    assert said == again
    assert "the state is older than what run" in (said[0] or "")
    assert "backup" in (said[0] or "")
    assert (said[1] is not None) == in_history
    assert len([record for record in caplog.records if thread_id in record.getMessage()]) == 1
    assert await remarks(client, other) == [None, None]


async def test_state_updated_since_has_no_remark(client: httpx.AsyncClient) -> None:
    async def last_run(thread_id: str) -> Any:
        return (await client.get(f"/threads/{thread_id}/runs")).json()[0]["run_id"]

    updated = await a_thread(client, "one")
    await client.post(f"/threads/{updated}/state", json={"values": {"messages": []}})
    pruned = await a_thread(client, "one", "two")
    await client.post("/threads/prune", json={"thread_ids": [pruned], "strategy": "keep_latest"})
    deleted = await a_thread(client, "one", "two")
    await client.post("/threads/prune", json={"thread_ids": [deleted], "strategy": "keep_latest"})
    await client.delete(f"/threads/{deleted}/runs/{await last_run(deleted)}")
    copied = (await client.post(f"/threads/{updated}/copy")).json()["thread_id"]
    fresh = await a_thread(client)
    for thread_id in (updated, pruned, deleted, copied, fresh):
        assert await remarks(client, thread_id) == [None, None]
