"""Two real processes of a cluster serve one conversation, and each of them is killed while a message is unanswered."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.channels.telegram_server import TOKEN, BotApi, bot_api
from tests.cluster.nodes import Cluster
from tests.processes.client import eventually

CONFIG = Path(__file__).parent / "langgraph.json"
USER = 7


async def count(cluster: Cluster, condition: str) -> int:
    """Return the number of stored messages that meet a condition."""

    def counted() -> int:
        with psycopg.connect(cluster.postgres.url) as connection:
            # The condition is text of this test.
            found = connection.execute(f"SELECT count(*) FROM runstead.channel_messages WHERE {condition}")
            return int(found.fetchone()[0])  # type: ignore[index]

    return await asyncio.to_thread(counted)


async def until_sent(cluster: Cluster, api: BotApi, messages: int) -> None:
    """Return when all messages are received, and the id of the answer to the first open one is stored: before that,
    the service alone knows that it was sent."""

    async def is_sent() -> bool:
        received = await count(cluster, "true")
        return received == messages and await count(cluster, "ended_at IS NULL AND progress LIKE '%%parts%%'") == 1

    assert await eventually(is_sent, 90), api.happened()


@pytest.mark.timeout(600)
async def test_order_is_kept_and_each_message_is_answered_once_over_kills(tmp_path: Path) -> None:
    opened = tmp_path / "opened"
    async with bot_api() as api:
        settings: dict[str, Any] = {"telegram_token": TOKEN, "telegram_url": api.url, "allow_unauthenticated": True}
        with Cluster.running(
            tmp_path / "cluster",
            gateways=1,
            workers=1,
            config=CONFIG,
            environ={"RUNSTEAD_TEST_GATE": str(opened)},
            **settings,
        ) as cluster:
            async with httpx.AsyncClient(base_url=cluster.urls[0], timeout=60) as client:
                command = (await client.post("/channels/codes")).json()["command"]
            await api.write(USER, text=command)
            await api.until(lambda: any("is linked" in text for text in api.texts()))
            api.messages.clear()
            wanted = []
            # One of the two receives, and one of them answers: each is killed once.
            for number, node in enumerate((cluster.gateways[0], cluster.workers[0])):
                opened.unlink(missing_ok=True)
                for text in (f"wait {number}", f"second {number}", f"third {number}"):
                    await api.write(USER, text=text)
                    wanted.append(f"you said {text}")
                await until_sent(cluster, api, 1 + len(wanted))
                await asyncio.to_thread(node.kill)
                opened.touch()
                await asyncio.to_thread(node.start)
                await api.shows(f"you said third {number}")

                async def is_quiet() -> bool:
                    return await count(cluster, "ended_at IS NULL") == 0

                assert await eventually(is_quiet, 90), cluster.logs
            # In the order of their ids, which is that of sending.
            assert [api.texts()[place] for place, _ in enumerate(sorted(api.messages))] == wanted, cluster.logs
            assert list(api.messages) == sorted(api.messages)
