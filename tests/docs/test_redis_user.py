"""The Redis user of docs/scale.md may use every feature of a cluster, and nothing else."""

from __future__ import annotations

import asyncio
import re
import shlex
from pathlib import Path
from typing import Final

import pytest

from runstead.infra.engines.redis import RedisConnections, open_redis
from runstead.infra.engines.redis_errors import RedisRefused
from runstead.infra.notices.redis import RedisNotices
from runstead.infra.stream_bridge.redis.bridge import RedisStreamBridge, RedisStreamSettings
from runstead.runtime.stream_bridge.contract import StreamEvent, StreamStatus
from tests.docs.pages import ROOT
from tests.servers.valkey import own_valkey

LINE: Final = re.search(r"^ACL SETUSER .*$", (ROOT / "docs" / "scale.md").read_text(), re.MULTILINE)
TIMEOUT: Final = 20


async def test_documented_user_has_exactly_the_needed_permissions(tmp_path: Path) -> None:
    assert LINE is not None
    # As documented for such characters: percent-encoded in the URL only.
    rules = shlex.split(LINE[0].replace(">password", ">p@ss/word"))
    with own_valkey(tmp_path) as server:
        async with open_redis(server.url) as admin, asyncio.timeout(TIMEOUT):
            await admin.ask(*rules)
            url = server.url.replace("//", "//runstead:p%40ss%2Fword@", 1).removesuffix("/0") + "/1"
            async with open_redis(url) as redis:
                async with RedisStreamBridge.running(redis, RedisStreamSettings(window_events=2)) as bridge:
                    await is_read(bridge, "run-1")
                    await is_read(bridge, "run-2")
                    await bridge.cleanup("run-1", delay=5)
                    await bridge.cleanup("run-2")
                await are_heard(redis)
                assert await admin.ask("ACL", "LOG") == [], "something was refused"
                for command in (("FLUSHALL",), ("KEYS", "*"), ("HSET", "others", "a", "b"), ("PUBLISH", "others", "x")):
                    with pytest.raises(RedisRefused):
                        await redis.ask(*command)


async def is_read(bridge: RedisStreamBridge, run_id: str) -> None:
    """Written by one client, and read by another that waits for it."""
    await bridge.open(run_id)
    reader = await bridge.subscribe(run_id)
    # The next write happens while the blocking command waits, and has to wake it.
    other = await bridge.subscribe(run_id)
    for number in range(5):
        await bridge.publish(run_id, "custom", b"%d" % number)
    bridge.renew_soon()
    await bridge.publish_end(run_id)
    await bridge.mark_awaiting_input(run_id)
    for one in (reader, other):
        read: list[StreamEvent] = []
        while not read or read[-1].terminal is None:
            read += [item for item in await one.read() if isinstance(item, StreamEvent)]
        await one.aclose()
    assert await bridge.status(run_id) is StreamStatus.AWAITING_INPUT
    await bridge.mark_answered(run_id)
    assert await bridge.status(run_id) is StreamStatus.ENDED


async def are_heard(redis: RedisConnections) -> None:
    """Published by one process, and received by another."""
    async with RedisNotices.running(redis) as ours, RedisNotices.running(redis) as theirs:
        heard: asyncio.Queue[str] = asyncio.Queue()
        with theirs.listener("stop", heard.put_nowait):
            await theirs.listening.wait()
            ours.publish("stop", "run-1")
            assert await heard.get() == "run-1"
