"""SIGKILL between a run's end and its delivery: the next process sends the pending deliveries."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
from standardwebhooks import Webhook

from tests.processes.client import eventually
from tests.processes.server import ServerProcess

from .receiver import OK, receiving

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="


async def test_kill_between_the_end_and_the_delivery_loses_nothing(tmp_path: Path) -> None:
    """The receiver accepts the connection and does not respond: the run has ended, but not the delivery, when the
    process dies. The next process sends all deliveries: those never attempted, and the interrupted one.
    """
    settings = {
        "webhook_allow_loopback": "true",
        "webhook_secrets": SECRET,
        "webhook_timeout_seconds": 60,
        "webhook_retry_seconds": 0.1,
    }
    async with receiving(lambda _: None) as receiver:
        server = ServerProcess(tmp_path / "data", settings=settings)
        await asyncio.to_thread(server.start)
        try:
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
                run_ids = []
                for _ in range(40):
                    body = {"assistant_id": "noop", "input": {}, "webhook": receiver.url}
                    answer = await client.post("/runs/wait", json=body)
                    answer.raise_for_status()
                    run_ids.append(answer.headers["content-location"].rsplit("/", 1)[1])
            await receiver.count(1)
            before = {got.headers["webhook-id"] for got in receiver.received}
            assert len(before) < len(run_ids), "all were on their way: nothing was left that only the storage knew"
            await asyncio.to_thread(server.kill)
            receiver.answer = lambda _: OK
            receiver.received.clear()
            await asyncio.to_thread(server.start)
            await receiver.count(len(run_ids), within=60)
            told = [Webhook(SECRET).verify(got.body, got.headers) for got in receiver.received]
            assert sorted(one["run_id"] for one in told) == sorted(run_ids)
            assert {one["status"] for one in told} == {"success"}
            # The interrupted ones are sent again under their first id.
            assert before <= {got.headers["webhook-id"] for got in receiver.received}
            async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

                async def delivered() -> bool:
                    params: dict[str, Any] = {"status": "delivered", "limit": 1}
                    answer = await client.get("/webhooks/deliveries", params=params)
                    return answer.headers["x-pagination-total"] == str(len(run_ids))

                await eventually(delivered, 30)
                assert json.loads((await client.get("/webhooks/deliveries?status=pending")).text) == []
        finally:
            await asyncio.to_thread(server.stop)
