"""Emitter of one attempt's lifecycle events to the observers, in order and numbered."""

from __future__ import annotations

import logging

import uuid_utils.compat as uuid7s

from runstead.runtime.clock import Clock

from ..observer import RunLifecycleEvent, RunLifecycleEventType, RunObserver
from ..types import RunRecord, RunStatus, StopReason, ThreadStatus

_log = logging.getLogger(__name__)


class RunEventEmitter:
    """Emitter that numbers events from 1. A failing observer never affects the run."""

    def __init__(self, run: RunRecord, observer: RunObserver, clock: Clock) -> None:
        self._run, self._observer, self._clock = run, observer, clock
        self._sequence = 0

    async def emit(self, event_type: RunLifecycleEventType, **payload: object) -> None:
        self._sequence += 1
        event = RunLifecycleEvent(
            event_id=str(uuid7s.uuid7()),
            event_type=event_type,
            run_id=self._run.run_id,
            thread_id=self._run.thread_id,
            sequence=self._sequence,
            occurred_at=self._clock.now(),
            payload=payload,
        )
        try:
            await self._observer.on_event(event)
        except Exception:
            _log.exception("observers failed on %s of run %s", event_type.value, self._run.run_id)

    async def ended(
        self,
        record: RunRecord,
        thread_status: ThreadStatus | None,
        *,
        title: str | None = None,
        stop: StopReason | None = None,
    ) -> None:
        """Emit the event for the end of the run, and one for its thread's status unless that is unchanged (None)."""
        completion = record.completion.to_json() if record.completion else {}
        match record.status:
            case RunStatus.SUCCESS:
                extra = {"title": title} if title else {}
                await self.emit(RunLifecycleEventType.RUN_COMPLETED, completion=completion, **extra)
            case RunStatus.INTERRUPTED:
                reason = (stop or record.stop_requested or StopReason.BY_USER).value
                await self.emit(RunLifecycleEventType.RUN_CANCELLED, completion=completion, reason=reason)
            case _:
                error = record.failure.to_json() if record.failure else {}
                await self.emit(RunLifecycleEventType.RUN_FAILED, completion=completion, error=error)
        if thread_status is not None:
            await self.emit(RunLifecycleEventType.THREAD_STATUS_UPDATED, status=thread_status)
