"""The poller of one worker: read the waiting runs, launch as many as the worker has free slots, wait for a wake-up.

Claiming decides which worker gets a run; the worker defines what a launch does.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from runstead.runtime.backoff import exponential
from runstead.runtime.clock import Clock
from runstead.runtime.runs.dispatch import RunWorker
from runstead.runtime.runs.types import RunId

_SHORTEST_WAIT: Final = 0.02
"""Minimum wait in seconds: a store that reports a due time in the past, with nothing to claim, must not cause a busy
loop.
"""

_log = logging.getLogger(__name__)


class ClaimableRuns(Protocol):
    """The part of a RunLeaseStore that a dispatcher reads."""

    async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]: ...

    async def next_due(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class LocalDispatchSettings:
    """Options of the poller.

    ``parallel_launches``: number of runs that one worker claims at a time (claims made together share a commit).
    ``recheck``: seconds after which the rows are read again without a wake-up. ``retry_after`` and ``retry_at_most``:
    first and longest pause, in seconds, before a failing store is read again or a run that could not be launched is
    tried again; the pause doubles with each failure.
    """

    parallel_launches: int = 32
    recheck: float = 30
    retry_after: float = 0.1
    retry_at_most: float = 10

    def __post_init__(self) -> None:
        if self.parallel_launches < 1:
            raise ValueError("parallel_launches must be at least 1")
        if min(self.recheck, self.retry_after, self.retry_at_most) <= 0:
            raise ValueError("recheck, retry_after and retry_at_most are positive numbers of seconds")

    def patience(self, failures: int) -> float:
        """Return the pause in seconds after this many failures in a row."""
        return exponential(self.retry_after, failures, self.retry_at_most)


@dataclass(frozen=True, slots=True)
class _Backoff:
    """The back-off of a waiting run that could not be launched; ``until`` is a monotonic time in seconds."""

    failures: int
    until: float


class RunPoller:
    """Polls for one worker. ``heard`` is set when a run may have become claimable; it is cleared before each read."""

    def __init__(
        self,
        rows: ClaimableRuns,
        worker: RunWorker,
        heard: asyncio.Event,
        clock: Clock,
        settings: LocalDispatchSettings,
    ) -> None:
        self._rows, self._worker, self._heard = rows, worker, heard
        self._clock, self._settings = clock, settings
        self._launching: dict[RunId, asyncio.Task[None]] = {}
        self._resting: dict[RunId, _Backoff] = {}
        self._more_wait = False
        self._held_back_at: int | None = None
        """Number of free slots above which the next read may find runs that were held back; None if none were."""
        self._failures = 0

    async def run(self) -> None:
        """Deliver runs until cancelled.

        Launches under way are completed: half a claim would look like a lost worker.
        """
        try:
            while True:
                await self._round()
        finally:
            if self._launching:
                await asyncio.wait(self._launching.values())

    async def _round(self) -> None:
        try:
            if not self._launching:
                await self._worker.wait_free()
            self._heard.clear()
            seconds = await self._deliver()
        except Exception:
            self._failures += 1
            patience = self._settings.patience(self._failures)
            _log.exception("reading waiting runs failed; retrying in %.1f s", patience)
            # Without listening meanwhile: wake-ups do not help while the store fails.
            await self._clock.sleep(patience)
        else:
            self._failures = 0
            await self._wait(seconds)

    async def _wait(self, seconds: float) -> None:
        freed = None
        if self._held_back_at is not None:
            freed = asyncio.create_task(self._wait_for_capacity(self._held_back_at), name="room for runs held back")
        try:
            await self._clock.wait(self._heard, seconds)
        finally:
            if freed is not None:
                freed.cancel()

    async def _wait_for_capacity(self, more_than: int) -> None:
        await self._worker.wait_free(more_than)
        self._heard.set()

    async def _deliver(self) -> float:
        """Launch as many runs as possible; return the seconds until the next read if there is no wake-up before."""
        if self._capacity() <= 0:
            # A launch that ends triggers the next read.
            self._more_wait, self._held_back_at = True, None
            return self._settings.recheck if self._launching else _SHORTEST_WAIT
        limit = self._capacity() + len(self._launching) + len(self._resting)
        free, shared = self._worker.free, self._shared()
        waiting = await self._rows.list_claimable(limit, shared)
        now = self._clock.monotonic()
        self._resting = {run_id: rest for run_id, rest in self._resting.items() if run_id in waiting}
        ready = [run_id for run_id in waiting if run_id not in self._launching and not self._backoffs(run_id, now)]
        begun = ready[: max(self._capacity(), 0)]
        for run_id in begun:
            self._launching[run_id] = asyncio.create_task(self._launch(run_id), name=f"launch-{run_id}")
        self._more_wait = len(waiting) >= limit or len(begun) < len(ready)
        held_back = shared is not None and shared <= len(waiting) < limit
        self._held_back_at = free - len(begun) if held_back else None
        if self._more_wait and not self._launching:
            return 0
        return await self._seconds_until_next(waiting)

    async def _launch(self, run_id: RunId) -> None:
        begun = False
        try:
            begun = await self._worker.launch(run_id)
        except Exception:
            _log.exception("run %s could not be launched; it stays pending and is retried", run_id)
        finally:
            del self._launching[run_id]
            if not begun:
                # Another worker has it, or the launch failed: the next read finds out, and there is no hurry.
                failures = self._resting[run_id].failures + 1 if run_id in self._resting else 1
                until = self._clock.monotonic() + self._settings.patience(failures)
                self._resting[run_id] = _Backoff(failures, until)
            if self._more_wait or self._held_back_at is not None or not begun:
                self._heard.set()

    def _capacity(self) -> int:
        # A launch under way may not be subtracted from ``free`` yet; assuming that it is not never yields too many.
        return min(self._worker.free, self._settings.parallel_launches) - len(self._launching)

    def _shared(self) -> int | None:
        """Return how many of the next runs may be of groups that already execute one; None: all."""
        if self._worker.reserved <= 0:
            return None
        # A launch under way may not be subtracted from ``free`` yet, and its run may no longer be among the next runs.
        # Assuming both never gives a reserved slot away; the end of the launch triggers another read.
        return max(self._worker.free - len(self._launching) - self._worker.reserved, 0) + len(self._resting)

    def _backoffs(self, run_id: RunId, now: float) -> bool:
        rest = self._resting.get(run_id)
        return rest is not None and rest.until > now

    async def _seconds_until_next(self, waiting: Sequence[RunId]) -> float:
        seconds = self._settings.recheck
        due = await self._rows.next_due()
        if due is not None:
            seconds = min(seconds, max((due - self._clock.now()).total_seconds(), _SHORTEST_WAIT))
        now = self._clock.monotonic()
        for run_id in waiting:
            if rest := self._resting.get(run_id):
                seconds = min(seconds, max(rest.until - now, _SHORTEST_WAIT))
        return seconds
