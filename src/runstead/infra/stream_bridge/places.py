"""Ids of events as places in a log, and where a reader starts who comes back with one.

A place is the number of events published before it, so that it stays true while the window moves. Pure: what is kept
where is the affair of whoever fills a `LogShape` in.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runstead.runtime.stream_bridge import FROM_THE_START, LIVE, ResumeResult

_ID: Final = re.compile(r"([1-9][0-9]{0,17})-([1-9][0-9]{0,17})")


def numbers_of(event_id: str) -> tuple[int, int] | None:
    """Attempt and number of an id; None when it is none of ours."""
    match = _ID.fullmatch(event_id)
    return (int(match[1]), int(match[2])) if match else None


@dataclass(frozen=True, slots=True)
class LogShape:
    """How a log stands: the attempt that publishes, how many events there were and whether the terminal one was,
    place and id of the first that is kept, and at which place each attempt began that published.
    """

    attempt: int
    published: int
    ended: bool
    first: int
    oldest: str | None
    begun: Sequence[tuple[int, int]]

    def resume(self, last_event_id: str | None) -> tuple[int, ResumeResult]:
        """Where a reader starts who has seen ``last_event_id``; see ResumeResult."""
        first, oldest = self.first, self.oldest
        if last_event_id is None:
            return first, ResumeResult("fresh", None, oldest)
        if last_event_id == LIVE:
            return self.published, ResumeResult("fresh", LIVE, oldest)
        if last_event_id in FROM_THE_START:
            return first, ResumeResult("evicted" if first else "resumed", last_event_id, oldest, first)
        numbers = numbers_of(last_event_id)
        if numbers is None:
            return first, ResumeResult("invalid", last_event_id, oldest, first)
        attempt, seq = numbers
        if attempt < (self.begun[0][0] if self.begun else self.attempt):
            # Of a log that was lost with its process: what followed this id there, nobody knows.
            return first, ResumeResult("evicted", last_event_id, oldest, None)
        place = self.place_after(attempt, seq)
        if place is None:
            return first, ResumeResult("invalid", last_event_id, oldest, first)
        if place < first:
            return first, ResumeResult("evicted", last_event_id, oldest, first - place)
        return place, ResumeResult("resumed", last_event_id, oldest)

    def place_after(self, attempt: int, seq: int) -> int | None:
        """The place behind the event with this id; None when no such event was ever published."""
        until = self.published + self.ended
        for begun, start in reversed(self.begun):
            if begun == attempt:
                return start + seq if start + seq <= until else None
            until = start
        return None
