"""Side effects of fake agents on the outside world: the worker of each step on each thread, with start and end.

Not part of any process: an effect remains when the process that made it is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId, ThreadId


@dataclass(slots=True)
class Effect:
    """One step of one attempt at work. ``ended`` is None while it is in progress."""

    thread_id: ThreadId
    run_id: RunId
    attempt: int
    step: str
    worker: str
    began: float
    ended: float | None = None


@dataclass(slots=True)
class EffectLog:
    """All effects in the order of their starts."""

    clock: Clock
    done: list[Effect] = field(default_factory=list)
    overlaps: list[tuple[Effect, Effect]] = field(default_factory=list)
    """Pairs of effects on one thread, of different attempts or runs, that overlapped in time."""
    _going: dict[ThreadId, list[Effect]] = field(default_factory=dict)

    @contextmanager
    def at_work(
        self, thread_id: ThreadId, run_id: RunId, attempt: int, step: str, worker: str = ""
    ) -> Iterator[Effect]:
        """Record work of this attempt on this thread for the length of a block."""
        effect = Effect(thread_id, run_id, attempt, step, worker, self.clock.monotonic())
        going = self._going.setdefault(thread_id, [])
        self.overlaps.extend((other, effect) for other in going if (other.run_id, other.attempt) != (run_id, attempt))
        going.append(effect)
        self.done.append(effect)
        try:
            yield effect
        finally:
            self._end(effect)

    def worker_died(self, worker: str) -> None:
        """End all effects that the worker has in progress."""
        for going in self._going.values():
            for effect in [effect for effect in going if effect.worker == worker]:
                self._end(effect)

    def _end(self, effect: Effect) -> None:
        going = self._going[effect.thread_id]
        if effect in going:
            going.remove(effect)
            effect.ended = self.clock.monotonic()
