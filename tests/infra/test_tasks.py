from __future__ import annotations

import asyncio

from runstead.infra.engines.tasks import end_all


async def test_a_task_that_forgets_that_it_was_cancelled_is_told_again() -> None:
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
        await end_all([task])
    assert task.cancelled()
    assert forgot == 2


async def test_tasks_that_have_ended_or_fail_are_no_trouble() -> None:
    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise OSError("the server is gone")

    async def end() -> None:
        return

    tasks = [asyncio.create_task(fail()), asyncio.create_task(end())]
    await asyncio.sleep(0)
    await end_all(tasks)
    assert all(task.done() for task in tasks)
    assert isinstance(tasks[0].exception(), OSError)
