"""An unreadable checkpoint is reported with a message, and blocks neither runs nor the deletion of its thread."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import Any

import httpx
import ormsgpack
import pytest

from runstead.bootstrap.application import Application

HELLO: Any = {"assistant_id": "agent", "input": {"messages": [{"role": "human", "content": "hi"}]}}
DAMAGED = {
    "cut off": ("msgpack", b"\x81"),
    "no object": ("msgpack", ormsgpack.packb([1, 2])),
    "without its parts": ("msgpack", ormsgpack.packb({"id": "x"})),
    "a pickle": ("pickle", b"cos\nsystem\n(S'true'\ntR."),
    "of an unknown type": ("x", b""),
}


@pytest.mark.parametrize("how", DAMAGED)
async def test_damaged_checkpoint_is_reported_and_its_thread_can_be_deleted(
    how: str, application: Application, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    thread_id = (await client.post("/threads", json={})).json()["thread_id"]
    place = f"/threads/{thread_id}"
    assert (await client.post(f"{place}/runs/wait", json=HELLO)).status_code == 200
    with closing(sqlite3.connect(application.settings.data_dir / "checkpoints.db", timeout=30)) as connection:
        connection.execute("UPDATE checkpoints SET type = ?, checkpoint = ?", DAMAGED[how])
        connection.commit()
    with caplog.at_level(logging.WARNING):
        for path in (f"{place}/state", f"{place}/history"):
            answer = await client.get(path)
            assert (answer.status_code, "cannot be read" in answer.json()["detail"]) == (503, True)
    assert f"of thread {thread_id} cannot be read" in caplog.text
    assert "restore the database from a backup, or delete the thread" in caplog.text
    assert (await client.get(f"{place}/storage")).status_code == 200
    answer = await client.post(f"{place}/runs/wait", json=HELLO)
    assert "__error__" in answer.json()
    (run, _) = (await client.get(f"{place}/runs")).json()
    assert run["status"] == "error"
    assert (await client.delete(place)).status_code == 204
