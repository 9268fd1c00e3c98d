"""Admission of the model calls of one attempt by the budgets of the deployment, on the server's loop."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from langchain_core.callbacks import BaseCallbackHandler
from langgraph.errors import GraphInterrupt
from langgraph.types import Interrupt

from runstead.runtime.backoff import Backoff
from runstead.runtime.clock import Clock
from runstead.runtime.runs.budgets import (
    ANSWER_SCHEMA,
    Admission,
    BudgetExceeded,
    BudgetLevel,
    BudgetNotice,
    interrupt_value,
)
from runstead.runtime.runs.callbacks.budgets import budget_callbacks
from runstead.runtime.runs.exceptions import LeaseLost, RunError
from runstead.runtime.runs.observer import RunLifecycleEventType
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.store import RunBudgetStore
from runstead.runtime.runs.types import ModelUsage
from runstead.runtime.serialization import encode

from ....json_types import JsonObject
from ..lifecycle_events import RunEventEmitter
from ..streaming.publisher import RunPublisher
from .event_writer import EventWriter
from .registry import RunHandle

_log = logging.getLogger(__name__)

_PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between the tries of a call that waits for others, or for the database."""

WARNING: Final = "budget_warning"
"""Name of the event, on the stream and among the run's events."""


class RunStopping(RunError):
    """The run is being stopped, and begins no further model call."""

    def __init__(self) -> None:
        super().__init__("this run is being stopped")


class BudgetGate:
    """A CallGate. Create it on the server's loop, and `close` it when the agent's code has ended."""

    def __init__(
        self,
        store: RunBudgetStore,
        handle: RunHandle,
        trace: EventWriter,
        publisher: RunPublisher,
        clock: Clock,
        record: Callable[[str, JsonObject], None],
        events: RunEventEmitter,
    ) -> None:
        """``record`` adds to the run's events; ``events`` notifies observers."""
        self._events = events
        self._store, self._handle, self._trace, self._publisher = store, handle, trace, publisher
        self._clock, self._record = clock, record
        self._home = asyncio.get_running_loop()
        self._open: dict[uuid.UUID, ModelUsage] = {}
        self._warned: set[str] = set()
        self._reports: set[asyncio.Task[None]] = set()
        self._is_used = self._is_closed = False

    def callbacks(self) -> list[BaseCallbackHandler]:
        """Return the callbacks to add last to those of the attempt."""
        return budget_callbacks(self)

    async def admit(self, call_id: uuid.UUID, wanted: ModelUsage, inside: uuid.UUID | None) -> Exception | None:
        admitting = asyncio.run_coroutine_threadsafe(self._admit(call_id, wanted, inside), self._home)
        return await asyncio.wrap_future(admitting)

    def admit_blocking(self, call_id: uuid.UUID, wanted: ModelUsage, inside: uuid.UUID | None) -> Exception | None:
        return asyncio.run_coroutine_threadsafe(self._admit(call_id, wanted, inside), self._home).result()

    def ended(self, call_id: uuid.UUID) -> None:
        # On any thread, and by abandoned agent code also after the loop was closed.
        with suppress(RuntimeError):
            self._home.call_soon_threadsafe(self._ended, call_id)

    async def close(self) -> None:
        """Write what the last calls used, and reserve nothing any more. A failure is logged."""
        self._is_closed = True
        if self._reports:
            await asyncio.wait(self._reports)
        if self._is_used:
            self._open.clear()
            await self._report()

    async def _admit(self, call_id: uuid.UUID, wanted: ModelUsage, inside: uuid.UUID | None) -> Exception | None:
        self._is_used = True
        for pause in Backoff(_PAUSES):
            if self._is_closed or self._handle.stop_reason is not None:
                return RunStopping()
            try:
                # Taken in the turn of the event writer, whose later write would have older counts.
                admission = await self._trace.with_usage(
                    lambda usage: self._store.admit(
                        self._handle.lease,
                        usage,
                        list(self._open.values()),
                        wanted,
                        # The call around this one cannot end before it.
                        may_wait=inside not in self._open,
                    )
                )
            except LeaseLost as lost:
                return lost
            except Exception:
                _log.warning("budgets of run %s cannot be read; trying again", self._handle.lease.run_id, exc_info=True)
                await self._clock.sleep(pause)
                continue
            if admission.kind == "admitted":
                self._open[call_id] = wanted
            await self._warn(admission)
            await self._notify(admission.notices)
            if admission.exceeded is not None:
                return self._refusal(admission.exceeded)
            if admission.kind == "admitted":
                return None
            await self._clock.sleep(pause)
        raise AssertionError("the pauses have no end")

    async def _warn(self, admission: Admission) -> None:
        for level in admission.warnings:
            name = str(level)
            if name in self._warned:
                continue
            self._warned.add(name)
            run_id = self._handle.lease.run_id
            _log.warning("run %s: %.0f %% of the budget of %s are used", run_id, level.part * 100, name)
            content = level.to_notice()
            self._record(WARNING, content)
            await self._publisher.publish(WARNING, encode(content))

    async def _notify(self, notices: Sequence[BudgetNotice]) -> None:
        for notice in notices:
            is_warning = notice.kind == "warning"
            event_type = RunLifecycleEventType.BUDGET_WARNING if is_warning else RunLifecycleEventType.BUDGET_EXCEEDED
            await self._events.emit(event_type, **notice.level.to_notice())

    def _refusal(self, level: BudgetLevel) -> Exception:
        _log.warning("run %s: the budget of %s is used up", self._handle.lease.run_id, level)
        self._record("budget_exceeded", {"budget": level.to_json(), "pauses": level.budget.pauses})
        if not level.budget.pauses:
            return BudgetExceeded(level, self._clock.now())
        # An id of its own: the answer is for the server, and no question of the node gets it.
        return GraphInterrupt([Interrupt(interrupt_value(level), uuid.uuid4().hex, response_schema=ANSWER_SCHEMA)])

    def _ended(self, call_id: uuid.UUID) -> None:
        if self._open.pop(call_id, None) is None or self._is_closed:
            return
        # At once: the usage of a process that is killed now counts.
        report = asyncio.create_task(self._report(), name="budget report")
        self._reports.add(report)
        report.add_done_callback(self._reports.discard)

    async def _report(self) -> None:
        try:
            notices = await self._trace.with_usage(
                lambda usage: self._store.report(self._handle.lease, usage, list(self._open.values()))
            )
            await self._notify(notices)
        except LeaseLost:
            return
        except Exception:
            _log.warning("the usage of run %s could not be counted", self._handle.lease.run_id, exc_info=True)


def budget_gate(
    runtime: RunsRuntime,
    handle: RunHandle,
    trace: EventWriter,
    publisher: RunPublisher,
    record: Callable[[str, JsonObject], None],
    events: RunEventEmitter,
) -> BudgetGate | None:
    """Return the gate of an attempt; None if the deployment has no budgets."""
    if runtime.budgets is None:
        return None
    return BudgetGate(runtime.budgets, handle, trace, publisher, runtime.clock, record, events)
