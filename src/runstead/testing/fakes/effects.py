"""What fake agents did to the world outside: who worked on which thread, from when to when.

Not part of any process: what was done stays done when the one who did it is killed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from runstead.runtime.clock import Clock
from runstead.runtime.runs.types import RunId, ThreadId


@dataclass(slots=True)
class Effect:
    """One step of one attempt at work. ``ended`` is None while it goes on."""

    thread_id: ThreadId
    run_id: RunId
    attempt: int
    step: str
    worker: str
    began: float
    ended: float | None = None


@dataclass(slots=True)
class Effects:
    """Every effect, in the order of their beginnings."""

    clock: Clock
    done: list[Effect] = field(default_factory=list)
    overlaps: list[tuple[Effect, Effect]] = field(default_factory=list)
    """Pairs on one thread, of different attempts or runs, that were at work at the same time."""
    _going: dict[ThreadId, list[Effect]] = field(default_factory=dict)

    @contextmanager
    def at_work(
        self, thread_id: ThreadId, run_id: RunId, attempt: int, step: str, worker: str = ""
    ) -> Iterator[Effect]:
        """For the length of a block, this attempt works on this thread."""
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
        """What the worker was doing has stopped."""
        for going in self._going.values():
            for effect in [effect for effect in going if effect.worker == worker]:
                self._end(effect)

    def _end(self, effect: Effect) -> None:
        going = self._going[effect.thread_id]
        if effect in going:
            going.remove(effect)
            effect.ended = self.clock.monotonic()
