"""Messages over SIGKILL in a cluster: each is delivered once, whether its state was stored or not."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import balanced
from tests.cluster.nodes import Cluster
from tests.processes.client import eventually

from .conftest import GRAPHS


@pytest.mark.timeout(600)
async def test_messages_are_delivered_once_over_kills_of_all_workers(tmp_path: Path) -> None:
    first, second = tmp_path / "go-1", tmp_path / "go-2"
    with Cluster.running(tmp_path / "cluster", gateways=1, workers=2, config=GRAPHS) as cluster:
        async with balanced(cluster) as client:
            thread = (await client.http.post("/threads", json={})).json()["thread_id"]
            said: Any = {"messages": [{"role": "user", "content": str(first)}]}
            run = await client.create(thread, "worker", said)
            path = f"/threads/{thread}/runs/{run['run_id']}"

            async def send(text: str) -> None:
                body = {"message": {"role": "user", "content": text}}
                assert (await client.http.post(f"{path}/inject", json=body)).json()["status"] == "waiting", cluster.logs

            async def works_on(file: Path) -> None:
                begun = Path(f"{file}.begun")

                async def exists() -> bool:
                    return await asyncio.to_thread(begun.exists)

                await eventually(exists)
                await asyncio.to_thread(begun.unlink)

            async def kill_all() -> None:
                await asyncio.gather(*(asyncio.to_thread(worker.restart) for worker in cluster.workers))

            await works_on(first)
            # Stored, and taken by no attempt yet. The second tool call answers it, so the state with it is stored.
            await send(str(second))
            await kill_all()
            await works_on(first)
            first.touch()
            await works_on(second)
            await send("third")
            await kill_all()
            await works_on(second)
            second.touch()
            ended = await client.ended(path)
            assert (ended["status"], ended["attempt"] > 1) == ("success", True), cluster.logs
            state = (await client.http.get(f"/threads/{thread}/state")).json()["values"]["messages"]
            humans = [message["content"] for message in state if message["type"] == "human"]
            assert humans == [str(first), str(second), "third"], cluster.logs
            assert state[-1]["content"] == f"heard {first} | {second} | third"
            shown = (await client.http.get(f"/threads/{thread}/steering")).json()
            assert [one["status"] for one in shown] == ["delivered", "delivered"]
