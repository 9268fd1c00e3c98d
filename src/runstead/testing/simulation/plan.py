"""What happens in one schedule, as data: who asks for what and when, and what goes wrong."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runstead.runtime.runs.types import RunId, RunSpec, StopAction, StreamMode, ThreadId
from runstead.testing.fakes import Script

from .kernel import Climate

Manner: TypeAlias = Literal["background", "stream", "wait"]


@dataclass(frozen=True, slots=True)
class Habits:
    """How a reader reads: it hangs up after so many events and comes back, and takes its time over each batch."""

    hangs_up_after: tuple[int, ...] = ()
    comes_back: bool = True
    seconds_per_batch: float = 0.0
    patience: float | None = None
    """Seconds after which the client leaves before it has got its first answer; it comes back and asks again."""


@dataclass(frozen=True, slots=True)
class Submit:
    at: float
    specs: tuple[RunSpec, ...]
    manner: Manner
    habits: Habits


@dataclass(frozen=True, slots=True)
class Cancel:
    at: float
    run_id: RunId
    action: StopAction
    wait: bool
    times: int
    habits: Habits


@dataclass(frozen=True, slots=True)
class Delete:
    at: float
    run_id: RunId
    habits: Habits


@dataclass(frozen=True, slots=True)
class Join:
    at: float
    run_id: RunId
    manner: Manner
    last_event_id: str | None
    modes: tuple[StreamMode, ...] | None
    habits: Habits


@dataclass(frozen=True, slots=True)
class Retry:
    at: float
    run_id: RunId


Action: TypeAlias = Submit | Cancel | Delete | Join | Retry


@dataclass(frozen=True, slots=True)
class Crash:
    """The process is killed: at once, or at its so-manyth call of a port from then on. Another starts after a while."""

    at: float
    down_for: float
    after_calls: int | None


@dataclass(frozen=True, slots=True)
class Restart:
    """The process is asked to close, with some grace; another starts after a while."""

    at: float
    down_for: float
    grace: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """The process stands still for a while. With a successor, another one has taken its work over when it wakes."""

    at: float
    seconds: float
    successor: bool


Misfortune: TypeAlias = Crash | Restart | Freeze


@dataclass(frozen=True, slots=True)
class Plan:
    """One schedule."""

    seed: int
    threads: tuple[ThreadId, ...]
    actions: tuple[Action, ...]
    misfortunes: tuple[Misfortune, ...]
    climate: Climate
    scripts: dict[RunId, Script | None] = field(default_factory=dict)

    @property
    def specs(self) -> list[RunSpec]:
        return [spec for action in self.actions if isinstance(action, Submit) for spec in action.specs]
