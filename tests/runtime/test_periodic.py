"""Loops beside a component go on after errors, also where the error cannot be logged."""

from __future__ import annotations

import asyncio

from runstead.runtime.periodic import keep_running, repeat
from runstead.testing.clock import ManualClock


async def test_repeat_continues_when_reporting_an_error_fails() -> None:
    clock, calls = ManualClock(), 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        raise MemoryError

    def failed() -> None:
        raise MemoryError

    task = asyncio.create_task(repeat(work, 1, clock, failed=failed))
    await clock.advance(3)
    task.cancel()
    assert calls == 3


async def test_keep_running_starts_work_again_that_failed_or_ended() -> None:
    clock, starts = ManualClock(), 0

    async def work() -> None:
        nonlocal starts
        starts += 1
        if starts == 1:
            raise MemoryError

    task = asyncio.create_task(keep_running(work, "work", clock))
    await clock.advance(2)
    task.cancel()
    assert starts == 3


async def test_repeat_yields_to_other_tasks_when_no_timer_can_be_made() -> None:
    class Timeless(ManualClock):
        async def sleep(self, seconds: float) -> None:
            raise MemoryError

    calls = 0

    async def work() -> None:
        nonlocal calls
        calls += 1

    task = asyncio.create_task(repeat(work, 1, Timeless(), failed=lambda: None))
    while calls < 3:  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
