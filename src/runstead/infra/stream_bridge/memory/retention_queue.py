"""Retention queue of logs that are no longer written to, all with the same retention period."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .blocks import EVENT_COST
from .log import RunLog

_LOG_COST = 2_500
"""Bytes of memory that a log takes in addition to its events, as measured."""


class RetentionQueue:
    """First in, first out: with one period for all, logs expire in the order of their arrival."""

    def __init__(self, keep_for: float) -> None:
        self.keep_for = keep_for
        self.armed = False
        self._logs: dict[str, tuple[RunLog, float]] = {}
        self._cost = 0

    def __len__(self) -> int:
        return len(self._logs)

    @property
    def cost(self) -> int:
        """Return the bytes of memory of the logs in the queue, approximately."""
        return self._cost

    @property
    def next_expiry(self) -> float | None:
        return next((leaves_at for _, leaves_at in self._logs.values()), None)

    def put(self, log: RunLog, now: float) -> None:
        """Keep ``log`` for the retention period from ``now``, also if it is in the queue already."""
        self.drop(log)
        self._logs[log.run_id] = (log, now + self.keep_for)
        self._cost += _cost_of(log)

    def drop(self, log: RunLog) -> None:
        """Remove a log if it is in the queue. A log must not grow while it is in the queue."""
        if self._logs.pop(log.run_id, None) is not None:
            self._cost -= _cost_of(log)

    def due(self, now: float) -> Iterator[RunLog]:
        """Yield the expired logs. The caller must drop each yielded log or put it back."""
        while self._logs:
            log, leaves_at = next(iter(self._logs.values()))
            if leaves_at > now:
                return
            yield log

    def first(self, wanted: Callable[[RunLog], bool]) -> RunLog | None:
        """Return the log that expires first among those that are ``wanted``."""
        return next((log for log, _ in self._logs.values() if wanted(log)), None)


def _cost_of(log: RunLog) -> int:
    end = 0 if log.terminal is None else len(log.terminal.data)
    return _LOG_COST + log.kept_bytes + log.kept_events * EVENT_COST + end
