"""Delivery of stop requests to the worker that holds the run, in whatever process it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runstead.runtime.runs.types import RunId

from .redis import RedisNotices


class StopNotices:
    """The stop half of a RunDispatcher: `request_stop` sends stops, `brought_to` receives them for a worker.

    Both belong to the event loop of the notices.
    """

    def __init__(self, notices: RedisNotices) -> None:
        self._notices = notices

    async def request_stop(self, run_id: RunId) -> None:
        """Ask the lease holder to read the run's stop flag, which must have been written before.

        Best effort and quick.
        """
        self._notices.publish("stop", run_id)

    @contextmanager
    def brought_to(self, notice_stop: Callable[[RunId], None]) -> Iterator[None]:
        """Deliver stops to this worker (`RunWorker.check_stop_request`) until the end of the block.

        The worker ignores runs that it does not hold. It finds stops that were lost on the way when it renews its
        leases.
        """
        with self._notices.listener("stop", lambda run_id: notice_stop(RunId(run_id))):
            yield
