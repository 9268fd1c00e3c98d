"""Pace of background work: small steps with pauses between them, so that requests keep their latency."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Final, TypeVar

from .clock import Clock

T = TypeVar("T")

_LONGEST: Final = 0.5
"""Seconds of the longest pause, after a step that was itself delayed by other work."""


class Pace:
    """Limits work to a share of the time: each step is followed by a pause in proportion to its duration.

    A step takes longer while the machine or the database is busy, and so does its pause.
    """

    def __init__(self, clock: Clock, share: float) -> None:
        """``share`` is more than 0; 1 means no pauses."""
        self._clock = clock
        self._ratio = (1 - share) / share

    async def step(self, work: Awaitable[T]) -> T:
        """Return the result of ``work``, after the pause that it costs. A failed step has no pause."""
        began = self._clock.monotonic()
        result = await work
        if self._ratio > 0:
            taken = self._clock.monotonic() - began
            await self._clock.sleep(min(taken * self._ratio, _LONGEST))
        return result
