"""Stops, brought to whoever holds the run, wherever that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runstead.runtime.runs.types import RunId

from .redis import RedisNotices


class StopNotices:
    """The stop half of a RunDispatcher: `request_stop` asks, `brought_to` has a worker hear, on the notices' loop."""

    def __init__(self, notices: RedisNotices) -> None:
        self._notices = notices

    async def request_stop(self, run_id: RunId) -> None:
        """Tell the holder to look at the run's stop flag, which must be written by now. Best effort and quick."""
        self._notices.tell("stop", run_id)

    @contextmanager
    def brought_to(self, notice_stop: Callable[[RunId], None]) -> Iterator[None]:
        """Stops reach this worker (`RunWorker.notice_stop`) until the end of the block. It ignores runs that it does
        not hold; those that were lost on the way it finds when it renews its leases.
        """
        with self._notices.listener("stop", notice_stop):
            yield
