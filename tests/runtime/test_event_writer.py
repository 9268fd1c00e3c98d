"""Events are stored by time while a run is silent, and once over all attempts."""

from __future__ import annotations

import asyncio
from typing import Any

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.types import ThreadId
from runstead.testing.clock import turn
from runstead.testing.fakes import Script, Step
from tests.faults.kernel import ALICE, Storage, a_spec

SAID: dict[str, Any] = {
    **Script("r1", (Step(takes=6.0),)).to_input(),
    "messages": [{"role": "user", "content": "hello"}],
}


async def stored(storage: Storage) -> list[str]:
    with acting(ALICE):
        return [one.event.event_type for one in await storage.events.list_events(ThreadId("t1"))]


async def test_human_message_is_stored_while_a_silent_step_takes_long() -> None:
    storage = Storage()
    async with storage.worker() as runs, asyncio.timeout(30):
        with acting(ALICE):
            await runs.create_background(a_spec("r1", input=SAID))
        await turn()
        assert await stored(storage) == []
        await storage.clock.advance(1.0)
        assert await stored(storage) == ["human_message"]
        assert storage.status("r1") == "running"
        await storage.clock.advance(10.0)
        assert storage.status("r1") == "success"


async def test_human_message_is_stored_once_over_attempts() -> None:
    storage = Storage()
    for _ in range(3):
        async with storage.worker() as runs, asyncio.timeout(30):
            if not storage.tables.runs:
                with acting(ALICE):
                    await runs.create_background(a_spec("r1", input=SAID))
            await storage.clock.advance(1.0)
            assert storage.status("r1") == "running"
        assert storage.status("r1") == "pending"
    assert await stored(storage) == ["human_message"]
