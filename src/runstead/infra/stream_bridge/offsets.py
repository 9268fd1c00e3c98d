"""Map event ids to positions in a log, and find the start position of a reader that returns with an id.

A position (place) is the number of events published before it, so that it stays valid while the window moves. Pure:
the adapter that fills a `LogOffsets` decides where events are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from runstead.runtime.stream_bridge.contract import FROM_THE_START, LIVE, ResumeResult, ResumeStatus
from runstead.runtime.stream_bridge.event_ids import numbers_of, position_after

_MARGIN: Final = 4
"""While the window moves, a returning reader starts after one fourth of it instead of at its very start."""


_SMALLEST: Final = 64
"""Assumed minimum of bytes per event if only bytes limit the window, since the id of each event must be kept."""


def most_events(window_events: int | None, window_bytes: int) -> int:
    """Return the maximum number of events in a window; ``window_events`` None limits it by bytes alone."""
    return max(window_bytes // _SMALLEST, 1) if window_events is None else window_events


@dataclass(frozen=True, slots=True)
class LogOffsets:
    """The state of a log.

    The publishing attempt, the number of published events and whether the terminal event was one of them, position and
    id of the first kept event, and the start position of each attempt that has published.
    """

    attempt: int
    published: int
    ended: bool
    first: int
    oldest: str | None
    begun: Sequence[tuple[int, int]]

    def resume(self, last_event_id: str | None) -> tuple[int, ResumeResult]:
        """Return the start position of a reader that has seen ``last_event_id``; see ResumeResult."""
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
            # From a log that was lost with its process: the number of events after this id there is unknown.
            return first, self.evicted(last_event_id, None)
        place = self.place_after(attempt, seq)
        if place is None:
            return first, self._resumed("invalid", last_event_id, first)
        if place < first:
            return first, self.evicted(last_event_id, first - place)
        return place, self._resumed("resumed", last_event_id)

    def evicted(self, last_event_id: str | None, missed: int | None) -> ResumeResult:
        """Return the result for a reader that missed events after this id; it continues with the oldest kept one."""
        return self._resumed("evicted", last_event_id, missed)

    def place_after(self, attempt: int, seq: int) -> int | None:
        """Return the position after the event with this id; None if no such event was ever published."""
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
        """Return the id with which a reader should return after a gap; see ResumeResult."""
        moves = self.first > 0 and not self.ended
        return self._position(self.first + ((self.published - self.first) // _MARGIN if moves else 0))

    def _position(self, place: int) -> str:
        """Return the id that precedes the event at this position."""
        for attempt, start in reversed(self.begun):
            if start <= place:
                return position_after(attempt, place - start)
        return position_after(self.attempt, 0)

    def _resumed(self, status: ResumeStatus, last_event_id: str | None, missed: int | None = 0) -> ResumeResult:
        return ResumeResult(status, last_event_id, self.oldest, missed, self.rejoin)
