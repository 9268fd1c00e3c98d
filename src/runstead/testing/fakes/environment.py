"""The environment of fake agents: their clock, their side effects, and a hook before each step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

from runstead.runtime.clock import Clock, SystemClock

from .effects import EffectLog


async def _at_once() -> None:
    return


@dataclass(frozen=True, slots=True)
class AgentEnvironment:
    """The environment. ``before_step`` is called before each step; effects are recorded under the name ``worker``."""

    clock: Clock = field(default_factory=SystemClock)
    effects: EffectLog = field(default_factory=lambda: EffectLog(SystemClock()))
    worker: str = ""
    before_step: Callable[[], Awaitable[None]] = _at_once
    waits_for_writes: bool = True
    """LangGraph completes the checkpoint writes of a run before it returns; custom agent code may not."""
    numbers: Iterator[int] = field(default_factory=lambda: count(1))
    """Makes the ids of checkpoints; shared by all stages over one checkpoint store, since ids grow with time."""
