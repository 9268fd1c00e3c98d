"""Lifecycle events and their observers, by which other components add durable side effects."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, Protocol

from ..json_types import JsonMapping
from .types import RunId, RunRecord, ThreadId, ThreadStatus

_log = logging.getLogger(__name__)


class RunLifecycleEventType(StrEnum):
    RUN_STARTED = "run_started"
    HUMAN_MESSAGE = "human_message"
    RUN_COMPLETED = "run_completed"
    RUN_FAILED = "run_failed"
    RUN_CANCELLED = "run_cancelled"
    THREAD_STATUS_UPDATED = "thread_status_updated"
    BUDGET_WARNING = "budget_warning"
    BUDGET_EXCEEDED = "budget_exceeded"


END_TYPES: Final = frozenset(
    (RunLifecycleEventType.RUN_COMPLETED, RunLifecycleEventType.RUN_FAILED, RunLifecycleEventType.RUN_CANCELLED)
)


@dataclass(frozen=True, slots=True)
class RunLifecycleEvent:
    """Event in the life of a run. ``sequence`` counts from 1 within one attempt; ``occurred_at`` is UTC.

    The payload of RUN_COMPLETED, RUN_FAILED and RUN_CANCELLED contains ``completion`` (see RunCompletionData);
    RUN_COMPLETED also ``title`` if one was found; RUN_FAILED ``error``; RUN_CANCELLED ``reason``; HUMAN_MESSAGE
    ``content``; THREAD_STATUS_UPDATED ``status``; BUDGET_WARNING and BUDGET_EXCEEDED ``budget`` and ``part``, once in
    each window of the budget.

    At the end of a run, ``run`` is its stored record and ``thread_status`` the status of its thread, if it has changed:
    observers in this process need not read them.
    """

    event_id: str
    event_type: RunLifecycleEventType
    run_id: RunId
    thread_id: ThreadId
    sequence: int
    occurred_at: datetime
    payload: JsonMapping = field(default_factory=dict)
    run: RunRecord | None = field(default=None, compare=False, repr=False)
    thread_status: ThreadStatus | None = field(default=None, compare=False)


class RunObserver(Protocol):
    """Observer of all lifecycle events, called in order, after each is durable, under the run's actor."""

    async def on_event(self, event: RunLifecycleEvent) -> None: ...


class ExceptEnds:
    """Observer that passes all events on but those of ends, of which the outbox notifies."""

    def __init__(self, observer: RunObserver) -> None:
        self._observer = observer

    async def on_event(self, event: RunLifecycleEvent) -> None:
        if event.event_type not in END_TYPES:
            await self._observer.on_event(event)


class CompositeObserver:
    """Observer that notifies several observers in order.

    An observer that fails is logged and affects neither the run nor the others, unless it was registered as required:
    then its error is raised after all were notified.
    """

    def __init__(self, observers: Sequence[RunObserver] = (), *, required: Sequence[RunObserver] = ()) -> None:
        self._observers = [(observer, False) for observer in observers] + [(observer, True) for observer in required]

    async def on_event(self, event: RunLifecycleEvent) -> None:
        failures: list[Exception] = []
        for observer, is_required in self._observers:
            try:
                await observer.on_event(event)
            except Exception as error:
                _log.exception("observer %s failed on %s", type(observer).__name__, event.event_type.value)
                if is_required:
                    failures.append(error)
        if failures:
            raise ExceptionGroup("required observers failed", failures)
