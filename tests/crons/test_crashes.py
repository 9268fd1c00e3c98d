"""SIGKILL at random moments while crons come due: every advance of a cron created its run, and none created two."""

from __future__ import annotations

import asyncio
import json
import random
import sqlite3
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx

from tests.processes.server import ServerProcess


async def test_kills_between_due_times_duplicate_and_lose_no_run(tmp_path: Path) -> None:
    chance = random.Random(7)
    server = ServerProcess(tmp_path / "data")
    await asyncio.to_thread(server.start)
    try:
        body = {"assistant_id": "noop", "input": {}, "schedule": "* * * * * *", "on_run_completed": "keep"}
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
            crons = [(await client.post("/runs/crons", json=body)).json()["cron_id"] for _ in range(20)]
        for _ in range(4):
            # Around the full second, when all are due.
            await asyncio.sleep(1.5 + chance.random())
            await asyncio.to_thread(server.restart)
        await asyncio.sleep(1.5)
    finally:
        await asyncio.to_thread(server.stop)
    runs, dates = _stored(tmp_path / "data" / "runstead.db")
    for cron_id in crons:
        ticks = sorted((one["due_at"], one["next_at"]) for one in runs if one["cron_id"] == cron_id)
        assert len(ticks) >= 4
        # From date to date without gap and repetition, up to the current position of the cron.
        assert all(earlier[1] == later[0] for earlier, later in pairwise(ticks))
        assert len({due for due, _ in ticks}) == len(ticks)
        assert ticks[-1][1] == dates[cron_id]


def _stored(file: Path) -> tuple[list[dict[str, Any]], dict[str, str]]:
    connection = sqlite3.connect(file)
    try:
        ticks = [json.loads(spec)["tick"] for (spec,) in connection.execute("SELECT spec FROM runs")]
        moments = (
            "SELECT cron_id, strftime('%Y-%m-%dT%H:%M:%S', next_run_date / 1000000, 'unixepoch') || '+00:00' FROM crons"
        )
        return ticks, dict(connection.execute(moments).fetchall())
    finally:
        connection.close()
