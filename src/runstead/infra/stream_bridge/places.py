"""Ids of events as places in a log, and where a reader starts who comes back with one.

A place is the number of events published before it, so that it stays true while the window moves. Pure: the adapter
that fills a `LogShape` in decides what is kept where.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runstead.runtime.stream_bridge import FROM_THE_START, LIVE, ResumeResult, ResumeStatus, numbers_of, position_after

_MARGIN: Final = 4
"""While the window moves, a reader is sent back to this part of it (one fourth) and not to its very start."""


_SMALLEST: Final = 64
"""Bytes that an event takes at least, on average, where the window is bounded by bytes alone: its id has to be kept."""


def most_events(window_events: int | None, window_bytes: int) -> int:
    """Return how many events a window holds at most; ``window_events`` None bounds it by bytes alone."""
    return max(window_bytes // _SMALLEST, 1) if window_events is None else window_events


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
        first = self.first
        if last_event_id is None:
            return first, self._resumed("fresh", None)
        if last_event_id == LIVE:
            return self.published, self._resumed("fresh", LIVE)
        if last_event_id in FROM_THE_START:
            if not first:
                return first, self._resumed("resumed", last_event_id)
            return first, self.evicted(last_event_id, first)
        numbers = numbers_of(last_event_id)
        if numbers is None:
            return first, self._resumed("invalid", last_event_id, first)
        attempt, seq = numbers
        if attempt < (self.begun[0][0] if self.begun else self.attempt):
            # Of a log that was lost with its process: what followed this id there, nobody knows.
            return first, self.evicted(last_event_id, None)
        place = self.place_after(attempt, seq)
        if place is None:
            return first, self._resumed("invalid", last_event_id, first)
        if place < first:
            return first, self.evicted(last_event_id, first - place)
        return place, self._resumed("resumed", last_event_id)

    def evicted(self, last_event_id: str | None, missed: int | None) -> ResumeResult:
        """For a reader that has missed so many events after this id and goes on with the oldest one kept."""
        return self._resumed("evicted", last_event_id, missed)

    def place_after(self, attempt: int, seq: int) -> int | None:
        """The place behind the event with this id; None when no such event was ever published."""
        until = self.published + self.ended
        if seq == 0 and attempt == self.attempt and (not self.begun or self.begun[-1][0] < attempt):
            return self.published
        for begun, start in reversed(self.begun):
            if begun == attempt:
                return start + seq if start + seq <= until else None
            until = start
        return None

    @property
    def rejoin(self) -> str:
        """The id that a reader comes back with after a gap; see ResumeResult."""
        moves = self.first > 0 and not self.ended
        return self._position(self.first + ((self.published - self.first) // _MARGIN if moves else 0))

    def _position(self, place: int) -> str:
        """The id after which the event at this place follows."""
        for attempt, start in reversed(self.begun):
            if start <= place:
                return position_after(attempt, place - start)
        return position_after(self.attempt, 0)

    def _resumed(self, status: ResumeStatus, last_event_id: str | None, missed: int | None = 0) -> ResumeResult:
        return ResumeResult(status, last_event_id, self.oldest, missed, self.rejoin)
