"""Logs that nobody writes any more, each kept for the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .blocks import EVENT_COST
from .log import RunLog

_LOG_COST = 2_500
"""What a log takes in memory besides its events, in bytes, as measured."""


class Shelf:
    """First up, first down: with one time for all, the order of arrival is the order of leaving."""

    def __init__(self, keep_for: float) -> None:
        self.keep_for = keep_for
        self.armed = False
        self._logs: dict[str, tuple[RunLog, float]] = {}
        self._cost = 0

    def __len__(self) -> int:
        return len(self._logs)

    @property
    def cost(self) -> int:
        """Bytes of memory, roughly, that what lies here takes."""
        return self._cost

    @property
    def next_leaves_at(self) -> float | None:
        return next((leaves_at for _, leaves_at in self._logs.values()), None)

    def put(self, log: RunLog, now: float) -> None:
        """Keep ``log`` for the shelf's time from ``now``, also when it lies here already."""
        self.drop(log)
        self._logs[log.run_id] = (log, now + self.keep_for)
        self._cost += _cost_of(log)

    def drop(self, log: RunLog) -> None:
        """Take a log down, if it is here. A log does not grow while it lies on a shelf."""
        if self._logs.pop(log.run_id, None) is not None:
            self._cost -= _cost_of(log)

    def due(self, now: float) -> Iterator[RunLog]:
        """Those whose time has come. What is yielded has to be dropped or put up again."""
        while self._logs:
            log, leaves_at = next(iter(self._logs.values()))
            if leaves_at > now:
                return
            yield log

    def first(self, wanted: Callable[[RunLog], bool]) -> RunLog | None:
        """The one to leave soonest among those that are ``wanted``."""
        return next((log for log, _ in self._logs.values() if wanted(log)), None)


def _cost_of(log: RunLog) -> int:
    end = 0 if log.terminal is None else len(log.terminal.data)
    return _LOG_COST + log.kept_bytes + log.kept_events * EVENT_COST + end
