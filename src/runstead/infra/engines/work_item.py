"""Units of work that a caller on an event loop submits to a database thread."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from sqlalchemy import Connection

T = TypeVar("T")

_log = logging.getLogger(__name__)

_RETRY: Final = 0.05
"""Seconds before a result that could not be delivered is delivered again."""


@dataclass(frozen=True, slots=True)
class WorkDone:
    """Result of work that was done in the thread of its caller, or the reason why it failed."""

    result: Any = None
    failure: BaseException | None = None


@dataclass(slots=True, eq=False)
class WorkItem:
    """Work to do in a transaction, its caller, and its result. ``tenant_id``: see `PostgresOptions.row_security`."""

    work: Callable[[Connection], Any]
    committed: Callable[[Any], None] | None
    durable: bool
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop
    tenant_id: str | None = None
    result: Any = None
    failure: BaseException | None = None
    has_begun: bool = False

    def deliver(self) -> None:
        """Resolve the future, on the caller's loop.

        The caller may have been cancelled; the commit stands all the same.
        """
        committed, self.committed = self.committed, None
        if self.failure is None and committed is not None:
            notify(committed, self.result)
        if self.future.done():
            return
        if self.failure is None:
            self.future.set_result(self.result)
        elif isinstance(self.failure, StopIteration):
            self.future.set_exception(RuntimeError("work on the database raised StopIteration"))
        else:
            self.future.set_exception(self.failure)


def notify(committed: Callable[[T], None], result: T) -> None:
    """Call ``committed`` after a commit, which stands even if the call fails."""
    try:
        committed(result)
    except Exception:
        _log.exception("a callback after a commit failed")


def resolve_all(jobs: Sequence[WorkItem]) -> None:
    """Deliver the results to all callers, waking each of their loops once. Tries again while there is no memory for it:
    a caller without an answer would wait for ever."""
    while True:
        try:
            _resolve_all(jobs)
        except MemoryError:
            time.sleep(_RETRY)
        else:
            return


def _resolve_all(jobs: Sequence[WorkItem]) -> None:
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[WorkItem]] = defaultdict(list)
    for job in jobs:
        by_loop[job.loop].append(job)
    for loop, done in by_loop.items():
        try:
            loop.call_soon_threadsafe(_deliver, done)
        except RuntimeError:
            _log.debug("%d pieces of work were done after their event loop had closed", len(done))


def _deliver(jobs: Sequence[WorkItem]) -> None:
    for job in jobs:
        job.deliver()
