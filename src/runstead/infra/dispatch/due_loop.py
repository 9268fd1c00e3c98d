"""The loop of a component that has work at due times, which are stored and may change at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from typing import Final, NoReturn

from runstead.runtime.clock import Clock

from .wakeup import WakeupSignal

_SHORTEST: Final = 0.05
"""Seconds of the shortest pause, for something that is due and could not be done."""


async def repeat_when_due(
    work: Callable[[asyncio.Event], Awaitable[datetime | None]],
    bell: WakeupSignal,
    clock: Clock,
    recheck: float,
    *,
    failed: Callable[[], None],
) -> NoReturn:
    """Call ``work`` until cancelled: at the time that it returns, when ``bell`` rings, and at least every ``recheck``
    seconds.

    ``work`` gets the event that ends the pause, to set it itself. ``failed`` is called in the handler of each error and
    logs it; the next call comes after ``recheck`` seconds.
    """
    with bell.listener() as heard:
        while True:
            heard.clear()
            seconds = recheck
            try:
                if (due_at := await work(heard)) is not None:
                    seconds = min(max((due_at - clock.now()).total_seconds(), _SHORTEST), recheck)
            except Exception:
                # A process without memory cannot log either.
                with suppress(Exception):
                    failed()
            await clock.wait(heard, seconds)
