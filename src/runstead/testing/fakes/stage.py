"""Where fake agents play: their time, what they leave in the world, and what may happen before each step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from runstead.runtime.clock import Clock, SystemClock

from .effects import Effects


async def _at_once() -> None:
    return


@dataclass(frozen=True, slots=True)
class Stage:
    """``before_step`` is called before each step; ``worker`` is the name under which effects are recorded."""

    clock: Clock = field(default_factory=SystemClock)
    effects: Effects = field(default_factory=lambda: Effects(SystemClock()))
    worker: str = ""
    before_step: Callable[[], Awaitable[None]] = _at_once
    waits_for_writes: bool = True
    """LangGraph does not let go of a run before its checkpoints are written; agent code of one's own may."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Makes the ids of checkpoints; shared by all stages over one checkpoint store, for ids grow with time."""
