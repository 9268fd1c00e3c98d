from __future__ import annotations

import asyncio

from runstead.infra.engines.cancellation import cancel_and_wait


async def test_task_that_swallows_cancellation_is_cancelled_again() -> None:
    forgot = 0

    async def forgetful() -> None:
        nonlocal forgot
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if forgot == 2:
                    raise
                forgot += 1

    task = asyncio.create_task(forgetful())
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await cancel_and_wait([task])
    assert task.cancelled()
    assert forgot == 2


async def test_ended_or_failing_tasks_are_tolerated() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the server is gone")

    async def end() -> None:
        return

    tasks = [asyncio.create_task(fail()), asyncio.create_task(end())]
    await asyncio.sleep(0)
    await cancel_and_wait(tasks)
    assert all(task.done() for task in tasks)
    assert isinstance(tasks[0].exception(), OSError)
