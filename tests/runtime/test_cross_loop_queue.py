"""The queue from an agent's loop to the server's."""

from __future__ import annotations

import asyncio
import threading

from runstead.runtime.user_code.cross_loop_queue import CrossLoopQueue


async def test_everything_arrives_in_order_from_another_thread() -> None:
    queue: CrossLoopQueue[int] = CrossLoopQueue(capacity=10)

    async def produce() -> None:
        for number in range(5_000):
            await queue.put(number)
        queue.finish()

    thread = threading.Thread(target=lambda: asyncio.run(produce()))
    thread.start()
    read: list[int] = []
    while True:
        finished = queue.finished
        read += await queue.read()
        if finished:
            break
    thread.join()
    assert read == list(range(5_000))


async def test_producer_waits_when_the_queue_is_full() -> None:
    queue: CrossLoopQueue[int] = CrossLoopQueue(capacity=3)

    async def produce() -> None:
        for number in range(10):
            await queue.put(number)

    producing = asyncio.ensure_future(produce())
    await asyncio.wait({producing}, timeout=0.05)
    assert not producing.done()
    assert await queue.read() == [0, 1, 2]
    while not producing.done():
        await queue.read()


async def test_closed_queue_does_not_block_its_producer() -> None:
    queue: CrossLoopQueue[int] = CrossLoopQueue(capacity=1)
    producing = asyncio.ensure_future(queue.put(1))
    await asyncio.sleep(0)
    queue.close()
    await asyncio.wait_for(producing, 60)
    await asyncio.wait_for(queue.put(2), 60)


async def test_wake_makes_read_return_empty() -> None:
    queue: CrossLoopQueue[int] = CrossLoopQueue()
    reading = asyncio.ensure_future(queue.read())
    await asyncio.sleep(0)
    queue.wake()
    assert await asyncio.wait_for(reading, 60) == []


async def test_finished_queue_is_read_without_waiting() -> None:
    queue: CrossLoopQueue[int] = CrossLoopQueue()
    await queue.put(1)
    queue.finish()
    assert await queue.read() == [1]
    assert await asyncio.wait_for(queue.read(), 60) == []
