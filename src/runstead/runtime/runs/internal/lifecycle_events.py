"""Emitter of one attempt's lifecycle events to the observers, in order and numbered."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace

import uuid_utils.compat as uuid7s

from runstead.runtime.clock import Clock

from ...json_types import JsonMapping
from ..observer import END_TYPES, RunLifecycleEvent, RunLifecycleEventType, RunObserver
from ..store import EndNotification
from ..telemetry import NoTelemetry, RunTelemetry
from ..types import Outcome, RunCompletionData, RunFailure, RunId, RunRecord, RunStatus, StopReason, ThreadStatus

_log = logging.getLogger(__name__)


class RunEventEmitter:
    """Emitter that numbers events from 1. A failing observer never affects the run."""

    def __init__(
        self, run: RunRecord, observer: RunObserver, clock: Clock, telemetry: RunTelemetry | None = None
    ) -> None:
        self._run, self._observer, self._clock = run, observer, clock
        self._telemetry = telemetry or NoTelemetry()
        self._sequence = 0

    async def emit(self, event_type: RunLifecycleEventType, **payload: object) -> None:
        await self._notify(self._event(event_type, payload))

    async def _notify(self, event: RunLifecycleEvent) -> None:
        try:
            await self._observer.on_event(event)
        except Exception:
            _log.exception("observers failed on %s of run %s", event.event_type.value, self._run.run_id)

    def _event(self, event_type: RunLifecycleEventType, payload: JsonMapping) -> RunLifecycleEvent:
        self._sequence += 1
        return RunLifecycleEvent(
            event_id=(
                _id_of_end(self._run.run_id, self._run.attempt, event_type)
                if event_type in END_TYPES
                else str(uuid7s.uuid7())
            ),
            event_type=event_type,
            run_id=self._run.run_id,
            thread_id=self._run.thread_id,
            sequence=self._sequence,
            occurred_at=self._clock.now(),
            payload=payload,
        )

    def intended_end(self, outcome: Outcome, stop: StopReason | None) -> RunLifecycleEvent:
        """Return the event for an end that is about to be written; it does not count in the sequence."""
        event_type, payload = _end_of(outcome.status, outcome.completion, outcome.failure, outcome.title, stop)
        event = self._event(event_type, payload)
        self._sequence -= 1
        return event

    async def ended(
        self,
        record: RunRecord,
        thread_status: ThreadStatus | None,
        *,
        title: str | None = None,
        stop: StopReason | None = None,
    ) -> None:
        """Emit the event for the end of the run, and one for its thread's status unless that is unchanged (None)."""
        self._telemetry.run_ended(record, thread_status)
        event_type, payload = _end_of(
            record.status, record.completion, record.failure, title, stop or record.stop_requested
        )
        event = self._event(event_type, payload)
        await self._notify(replace(event, run=record, thread_status=thread_status))
        if thread_status is not None:
            await self.emit(RunLifecycleEventType.THREAD_STATUS_UPDATED, status=thread_status)


def end_event(notification: EndNotification, record: RunRecord | None) -> RunLifecycleEvent:
    """Return the event for an end from the outbox. ``record`` is None if the run was deleted since."""
    same = record if record is not None and record.attempt == notification.attempt else None
    completion, failure = (same.completion, same.failure) if same else (None, None)
    event_type, payload = _end_of(notification.status, completion, failure, None, notification.reason)
    return RunLifecycleEvent(
        event_id=_id_of_end(notification.run_id, notification.attempt, event_type),
        event_type=event_type,
        run_id=notification.run_id,
        thread_id=notification.thread_id,
        sequence=1,
        occurred_at=notification.occurred_at,
        payload=payload,
        run=same,
    )


def _id_of_end(run_id: RunId, attempt: int, event_type: RunLifecycleEventType) -> str:
    """Return the same id for each notification of one end, so that observers recognize a repetition."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{run_id}/{attempt}/{event_type.value}"))


def _end_of(
    status: RunStatus,
    completion: RunCompletionData | None,
    failure: RunFailure | None,
    title: str | None,
    stop: StopReason | None,
) -> tuple[RunLifecycleEventType, dict[str, object]]:
    """Return the type and the payload of the event for the end of a run."""
    shown: dict[str, object] = {"completion": completion.to_json() if completion else {}}
    match status:
        case RunStatus.SUCCESS:
            return RunLifecycleEventType.RUN_COMPLETED, {**shown, **({"title": title} if title else {})}
        case RunStatus.INTERRUPTED:
            return RunLifecycleEventType.RUN_CANCELLED, {**shown, "reason": (stop or StopReason.BY_USER).value}
        case _:
            return RunLifecycleEventType.RUN_FAILED, {**shown, "error": failure.to_json() if failure else {}}
