"""Loops beside a component, until it stops. None of them ends by an error, such as a failed allocation."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Final, NoReturn

from .clock import Clock

_log = logging.getLogger(__name__)

_RESTART: Final = 1.0
"""Seconds before a loop that failed is started again."""


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
        await _pause(clock, seconds)
    while True:
        try:
            await work()
        except Exception:
            # A process without memory cannot log either.
            with suppress(Exception):
                failed()
        await _pause(clock, seconds)


async def keep_running(work: Callable[[], Awaitable[object]], what: str, clock: Clock) -> NoReturn:
    """Run ``work``, which does not end by itself, and start it again a second after it fails, until cancelled.

    For loops without which a process would seem to work and would not: a task that fails ends silently.
    """
    while True:
        try:
            await work()
        except Exception:
            with suppress(Exception):
                _log.critical("%s failed; starting again in %.0f s", what, _RESTART, exc_info=True)
        await _pause(clock, _RESTART)


async def _pause(clock: Clock, seconds: float) -> None:
    try:
        await clock.sleep(seconds)
    except Exception:
        # A timer could not be allocated. Other tasks must run meanwhile.
        await asyncio.sleep(0)


@asynccontextmanager
async def beside(work: Coroutine[object, object, None], name: str) -> AsyncIterator[None]:
    """Run ``work`` as a task for the length of a block; cancel it at the end, and wait for it."""
    task = asyncio.create_task(work, name=name)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
