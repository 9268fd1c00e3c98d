"""The way from an agent's loop to the server's."""

from __future__ import annotations

import asyncio
import threading

from runstead.runtime.runs.internal.feed import Feed


async def test_everything_arrives_in_order_from_another_thread() -> None:
    feed: Feed[int] = Feed(capacity=10)

    async def produce() -> None:
        for number in range(5_000):
            await feed.put(number)
        feed.finish()

    thread = threading.Thread(target=lambda: asyncio.run(produce()))
    thread.start()
    read: list[int] = []
    while True:
        finished = feed.finished
        read += await feed.read()
        if finished:
            break
    thread.join()
    assert read == list(range(5_000))


async def test_a_producer_waits_for_a_reader_who_is_far_behind() -> None:
    feed: Feed[int] = Feed(capacity=3)

    async def produce() -> None:
        for number in range(10):
            await feed.put(number)

    producing = asyncio.ensure_future(produce())
    await asyncio.wait({producing}, timeout=0.05)
    assert not producing.done()
    assert await feed.read() == [0, 1, 2]
    while not producing.done():
        await feed.read()


async def test_a_closed_feed_lets_its_producer_run_on() -> None:
    feed: Feed[int] = Feed(capacity=1)
    producing = asyncio.ensure_future(feed.put(1))
    await asyncio.sleep(0)
    feed.close()
    await asyncio.wait_for(producing, 1)
    await asyncio.wait_for(feed.put(2), 1)


async def test_waking_makes_a_read_return_with_nothing() -> None:
    feed: Feed[int] = Feed()
    reading = asyncio.ensure_future(feed.read())
    await asyncio.sleep(0)
    feed.wake()
    assert await asyncio.wait_for(reading, 1) == []


async def test_a_finished_feed_is_read_without_waiting() -> None:
    feed: Feed[int] = Feed()
    await feed.put(1)
    feed.finish()
    assert await feed.read() == [1]
    assert await asyncio.wait_for(feed.read(), 1) == []
