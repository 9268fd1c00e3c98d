"""Port for metrics, log lines and traces of runs. The kernel reports what happens, adapters count, log and trace it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from typing import Protocol

from .types import Lease, RunRecord, ThreadStatus


class RunTelemetry(Protocol):
    """Receiver of reports about the runs of this process.

    Methods are called on the server's event loop. They return at once, and never raise.
    """

    def run_created(self, run: RunRecord) -> None:
        """Report a run that this process accepted, after it was stored; again if the request is repeated."""
        ...

    def around_attempt(self, lease: Lease) -> AbstractAsyncContextManager[None]:
        """Return a context in which an attempt is executed and settled. It sets context variables, which agent code
        sees too."""
        ...

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        """Report the end of a run, after it was stored. ``thread_status``: None if it did not change."""
        ...

    def attempt_lost(self, run: RunRecord) -> None:
        """Report a run whose worker was lost, after it was made pending again, or a dead letter."""
        ...

    def stream_gap(self, run: RunRecord) -> None:
        """Report that a reader of a run's stream missed events."""
        ...


class NoTelemetry:
    """RunTelemetry that ignores all reports."""

    def run_created(self, run: RunRecord) -> None:
        return

    def around_attempt(self, lease: Lease) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        return

    def attempt_lost(self, run: RunRecord) -> None:
        return

    def stream_gap(self, run: RunRecord) -> None:
        return


class CompositeTelemetry:
    """RunTelemetry that passes each report on, in order."""

    def __init__(self, receivers: Sequence[RunTelemetry]) -> None:
        self._receivers = receivers

    def run_created(self, run: RunRecord) -> None:
        for one in self._receivers:
            one.run_created(run)

    @asynccontextmanager
    async def around_attempt(self, lease: Lease) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for one in self._receivers:
                await stack.enter_async_context(one.around_attempt(lease))
            yield

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        for one in self._receivers:
            one.run_ended(run, thread_status)

    def attempt_lost(self, run: RunRecord) -> None:
        for one in self._receivers:
            one.attempt_lost(run)

    def stream_gap(self, run: RunRecord) -> None:
        for one in self._receivers:
            one.stream_gap(run)
