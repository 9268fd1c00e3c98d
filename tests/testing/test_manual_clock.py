from __future__ import annotations

import asyncio
from datetime import timedelta

from runstead.testing.clock import ManualClock, turn


async def test_time_stands_still_until_it_is_moved() -> None:
    clock = ManualClock()
    before = clock.now(), clock.monotonic()
    await asyncio.sleep(0.01)
    assert (clock.now(), clock.monotonic()) == before
    await clock.advance(timedelta(minutes=1))
    assert clock.now() - before[0] == timedelta(minutes=1)
    assert clock.monotonic() - before[1] == 60


async def test_sleepers_wake_in_the_order_of_their_times_each_at_its_own() -> None:
    clock, woke = ManualClock(), list[tuple[str, float]]()

    async def sleeper(name: str, *naps: float) -> None:
        for nap in naps:
            await clock.sleep(nap)
            woke.append((name, clock.monotonic()))

    tasks = [asyncio.create_task(sleeper("a", 5)), asyncio.create_task(sleeper("b", 2, 2, 2))]
    await clock.advance(5.5)
    assert woke == [("b", 2), ("b", 4), ("a", 5)]
    await clock.advance(1)
    assert woke[-1] == ("b", 6)
    assert clock.sleepers == 0
    await asyncio.gather(*tasks)


async def test_wait_ends_with_the_event_or_with_its_time() -> None:
    clock, event = ManualClock(), asyncio.Event()
    in_time, too_late = (asyncio.create_task(clock.wait(event, seconds)) for seconds in (10, 3))
    for_ever = asyncio.create_task(clock.wait(event, None))
    await clock.advance(4)
    assert too_late.done()
    assert not in_time.done()
    event.set()
    await turn()
    assert [await too_late, await in_time, await for_ever] == [False, True, True]
    assert await clock.wait(event, 0)


async def test_cancelled_sleep_leaves_no_sleeper() -> None:
    clock = ManualClock()
    waiting = asyncio.create_task(clock.wait(asyncio.Event(), 10))
    await turn()
    assert clock.sleepers == 1
    waiting.cancel()
    await turn()
    assert clock.sleepers == 0
    await clock.advance(20)
