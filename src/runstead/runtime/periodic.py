"""Loops beside a component, until it stops."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import NoReturn

from .clock import Clock


async def repeat(
    work: Callable[[], Awaitable[object]],
    seconds: float,
    clock: Clock,
    *,
    failed: Callable[[], None],
    at_once: bool = False,
) -> NoReturn:
    """Call ``work`` every ``seconds`` until cancelled; with ``at_once``, also before the first pause.

    ``failed`` is called in the handler of each error and logs it: the next call comes at its usual time.
    """
    if not at_once:
        await clock.sleep(seconds)
    while True:
        try:
            await work()
        except Exception:
            failed()
        await clock.sleep(seconds)


@asynccontextmanager
async def beside(work: Coroutine[object, object, None], name: str) -> AsyncIterator[None]:
    """Run ``work`` as a task for the length of a block; cancel it at the end, and wait for it."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
