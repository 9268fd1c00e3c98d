"""SIGKILL while deadlines come: each reminder and each default answer is there exactly once."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from pathlib import Path

import httpx

from tests.processes.client import eventually
from tests.processes.server import ServerProcess

from .conftest import GRAPHS

COUNT = 20


async def test_kills_around_deadlines_lose_and_repeat_nothing(tmp_path: Path) -> None:
    chance = random.Random(7)
    server = ServerProcess(tmp_path / "data", config=GRAPHS)
    await asyncio.to_thread(server.start)
    try:
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:
            for number in range(COUNT):
                rules = {"remind_after": 0.1 * number + 0.1, "deadline": 0.1 * number + 2, "default": number}
                body = {"assistant_id": "timed", "input": {"rules": rules}, "if_not_exists": "create"}
                thread = (await http.post("/threads", json={})).json()["thread_id"]
                await http.post(f"/threads/{thread}/runs/wait", json=body)
        for _ in range(3):
            await asyncio.sleep(0.3 + chance.random())
            await asyncio.to_thread(server.restart)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as http:

            async def all_answered() -> bool:
                return not (await http.get("/approvals")).json()

            await eventually(all_answered, 120)
            answered = (await http.get("/approvals", params={"state": "answered"})).json()
            assert sorted(one["decision"] for one in answered) == list(range(COUNT))
            for one in answered:
                found = (await http.get(f"/approvals/{one['approval_id']}")).json()
                kinds = Counter(event["kind"] for event in found["events"])
                assert (kinds["answered"], kinds["reminded"] <= 1, one["answered_by"]) == (1, True, "deadline")
                runs = (await http.get(f"/threads/{one['thread_id']}/runs")).json()
                assert len(runs) == 2
    finally:
        await asyncio.to_thread(server.stop)
