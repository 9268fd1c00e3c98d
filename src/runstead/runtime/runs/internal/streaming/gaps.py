"""Gap events of a run's stream, and the ids from which to rejoin after a gap."""

from __future__ import annotations

from runstead.runtime.runs.types import RunRecord, RunStatus
from runstead.runtime.serialization import encode
from runstead.runtime.stream_bridge.contract import ResumeResult, StreamEvent
from runstead.runtime.stream_bridge.event_ids import numbers_of, position_after, position_before
from runstead.runtime.stream_bridge.gap import GAP, gap_payload


def gap_event(record: RunRecord, resumed: ResumeResult) -> StreamEvent:
    """Return the ``gap`` event for a reader that resumed the run's stream with a gap."""
    payload = gap_payload(record.run_id, resumed, resumed.rejoin or _position(record, resumed))
    return StreamEvent("", GAP, encode(payload))


def position_after_run(record: RunRecord) -> str:
    """Return the id that lies behind all attempts of the run so far. A later attempt, if any, begins after it."""
    return position_after(max(record.attempt, 1) + 1, 0)


def is_after_run(record: RunRecord, last_event_id: str | None, *, is_kept: bool) -> bool:
    """Return whether the run has ended and this id lies behind all of its events.

    A terminal event that the run's own worker did not publish is published under the next attempt's number, so other
    ids of that attempt are valid as long as the stream is kept.
    """
    numbers = numbers_of(last_event_id or "")
    if numbers is None or not record.status.is_terminal or numbers[0] != max(record.attempt, 1) + 1:
        return False
    return not is_kept or last_event_id == position_after_run(record)


def _position(record: RunRecord, resumed: ResumeResult) -> str:
    """Return the id to rejoin from if the bridge names none."""
    if resumed.oldest is not None:
        return position_before(resumed.oldest)
    if record.status in (RunStatus.STARTING, RunStatus.RUNNING):
        return position_after(record.attempt, 0)
    return position_after_run(record)
