"""Port for metrics, log lines and traces of runs. The kernel reports what happens, adapters count, log and trace it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from .types import Lease, RunRecord, ThreadStatus


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """Report of a provider about an answer; None where it says nothing."""

    model: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None


class CallObserver(Protocol):
    """Receiver of the calls of models and tools in one attempt.

    Methods are called on any thread, in the course of the call. They return at once, and never raise.
    """

    def model_called(self, call_id: UUID, model: str | None, provider: str | None) -> None:
        """Report that a call of a model begins."""
        ...

    def model_answered(self, call_id: UUID, answer: ModelAnswer) -> None:
        """Report the answer of a model. Its tokens are not reported one by one."""
        ...

    def tool_called(self, call_id: UUID, name: str) -> None:
        """Report that a call of a tool begins."""
        ...

    def tool_answered(self, call_id: UUID) -> None:
        """Report that a tool has ended."""
        ...

    def call_failed(self, call_id: UUID, error: BaseException | None) -> None:
        """Report that a call ended without a result; ``error`` is None if it did not fail, but was stopped or asks."""
        ...


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

    def call_observer(self) -> CallObserver | None:
        """Return an observer of the calls in the attempt whose context this is; None if they are not of interest."""
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

    def call_observer(self) -> CallObserver | None:
        return None

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

    def call_observer(self) -> CallObserver | None:
        """Return that of the first receiver that has one."""
        return next((found for one in self._receivers if (found := one.call_observer()) is not None), None)

    def run_ended(self, run: RunRecord, thread_status: ThreadStatus | None) -> None:
        for one in self._receivers:
            one.run_ended(run, thread_status)

    def attempt_lost(self, run: RunRecord) -> None:
        for one in self._receivers:
            one.attempt_lost(run)

    def stream_gap(self, run: RunRecord) -> None:
        for one in self._receivers:
            one.stream_gap(run)
