"""Sequence numbers that are the same for all readers of a thread, even when earlier events are no longer kept.

Counting would not work: a reader that arrives after the log of an old run is gone would number the next run
differently, and another reader that resumes from 17 would miss events. So a number is computed from durable data: the
time at which a run began, and the position of an event in the run's log. The runs of a thread follow each other, and a
log grows more slowly than time (see ``_PER_MS``), so the numbers rise over the runs. Events at the end of a run are
numbered by the time of that end, so that they keep their number when the log is gone and only the record remains.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from runstead.runtime.runs.types import RunRecord

_EPOCH: Final = 1_704_067_200_000
"""The year 2024, in milliseconds: numbers must stay below 2**53, the limit of JavaScript's integers, which they reach
in 2093."""
_PER_MS: Final = 4096
_PER_EVENT: Final = 64
"""Numbers reserved for the events of one log entry: 64 000 log entries per second, for the maximum duration of a
run."""
_PER_ATTEMPT: Final = _PER_MS * 1_000
"""The next attempt begins after a restart or an expired lease, which takes more than a second."""
_ID: Final = re.compile(r"(\d+)-(\d+)")


class Numbering:
    """Numbers of one run's events. Each is higher than the previous one, whatever the arguments."""

    def __init__(self, run: RunRecord) -> None:
        self._begin = number_of(run.started_at or run.ended_at or run.created_at)
        self._last = self._begin

    def of(self, log_id: str) -> int:
        """Return the next number for an event of this log entry; for an entry without an id, simply the next number."""
        match = _ID.fullmatch(log_id)
        place = self._last if match is None else self._begin + _place(int(match[1]), int(match[2]))
        return self._next(place)

    def at(self, time: datetime | None) -> int:
        """Return the next number for an event that is derived from the run's record, at this time."""
        return self._next(self._last if time is None else number_of(time))

    def _next(self, number: int) -> int:
        self._last = max(number, self._last + 1)
        return self._last


def number_of(time: datetime) -> int:
    """Return the first number of a point in time."""
    return max(milliseconds(time) - _EPOCH, 0) * _PER_MS


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000)


def _place(attempt: int, seq: int) -> int:
    return max(attempt - 1, 0) * _PER_ATTEMPT + seq * _PER_EVENT
