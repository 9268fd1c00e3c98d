"""Seq numbers that every reader of a thread agrees on, also when earlier events are no longer kept.

Counting would not do: a reader who comes when the log of an old run has gone would number the next one differently,
and another who says "since 17" would miss something. So a number is made of what is durable: the time at which a run
began, and the place of an event in the run's log. The runs of a thread follow each other, and a log grows slower than
time does (see ``_PER_MS``), so numbers rise over the runs. What stands at the end of a run is numbered by the time of
the end: it is found at the same place when the log has gone and only the record tells of it.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from runstead.runtime.runs.types import RunRecord

_EPOCH: Final = 1_704_067_200_000
"""2024, in milliseconds: numbers must stay below 2**53, which is where JavaScript's integers end, in 2093."""
_PER_MS: Final = 4096
_PER_EVENT: Final = 64
"""Numbers for what one entry of a log becomes: 64 000 entries a second, for as long as a run may take."""
_PER_ATTEMPT: Final = _PER_MS * 1_000
"""An attempt follows another after a restart or a lapsed lease, which takes more than a second."""
_ID: Final = re.compile(r"(\d+)-(\d+)")


class Numbering:
    """The numbers of one run's events. Each is higher than the one before, whatever is asked for."""

    def __init__(self, run: RunRecord) -> None:
        self._begin = number_of(run.started_at or run.ended_at or run.created_at)
        self._last = self._begin

    def of(self, log_id: str) -> int:
        """The next number for something that came of this entry of the log; of an entry without an id, the next."""
        match = _ID.fullmatch(log_id)
        place = self._last if match is None else self._begin + _place(int(match[1]), int(match[2]))
        return self._next(place)

    def at(self, time: datetime | None) -> int:
        """The next number for something that the record tells of, at the time it does."""
        return self._next(self._last if time is None else number_of(time))

    def _next(self, number: int) -> int:
        self._last = max(number, self._last + 1)
        return self._last


def number_of(time: datetime) -> int:
    """The first number of a moment."""
    return max(milliseconds(time) - _EPOCH, 0) * _PER_MS


def milliseconds(time: datetime) -> int:
    return int(time.timestamp() * 1_000)


def _place(attempt: int, seq: int) -> int:
    return max(attempt - 1, 0) * _PER_ATTEMPT + seq * _PER_EVENT
