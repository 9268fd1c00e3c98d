"""The plan of one schedule as data: the clients' requests with their times, and the faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runstead.runtime.runs.types import RunId, RunSpec, StopAction, StreamMode, ThreadId
from runstead.testing.fakes import Script

from .kernel import FaultProfile

ReadMode: TypeAlias = Literal["background", "stream", "wait"]


@dataclass(frozen=True, slots=True)
class ClientBehavior:
    """The habits of a reader: it disconnects after given numbers of events and reconnects, and may read slowly."""

    hangs_up_after: tuple[int, ...] = ()
    comes_back: bool = True
    seconds_per_batch: float = 0.0
    patience: float | None = None
    """Seconds after which the client disconnects without a first response; it reconnects and asks again."""


@dataclass(frozen=True, slots=True)
class Submit:
    at: float
    specs: tuple[RunSpec, ...]
    manner: ReadMode
    habits: ClientBehavior


@dataclass(frozen=True, slots=True)
class Cancel:
    at: float
    run_id: RunId
    action: StopAction
    wait: bool
    times: int
    habits: ClientBehavior


@dataclass(frozen=True, slots=True)
class Delete:
    at: float
    run_id: RunId
    habits: ClientBehavior


@dataclass(frozen=True, slots=True)
class Join:
    at: float
    run_id: RunId
    manner: ReadMode
    last_event_id: str | None
    modes: tuple[StreamMode, ...] | None
    habits: ClientBehavior


@dataclass(frozen=True, slots=True)
class Retry:
    at: float
    run_id: RunId


Action: TypeAlias = Submit | Cancel | Delete | Join | Retry


@dataclass(frozen=True, slots=True)
class Crash:
    """Kill the process: at once, or at its n-th call of a port from then on. Another one starts after a while."""

    at: float
    down_for: float
    after_calls: int | None


@dataclass(frozen=True, slots=True)
class Restart:
    """Ask the process to close, with a grace period; another one starts after a while."""

    at: float
    down_for: float
    grace: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """Freeze the process for a while. With a successor, another one has taken over its work when it wakes."""

    at: float
    seconds: float
    successor: bool


Fault: TypeAlias = Crash | Restart | Freeze


@dataclass(frozen=True, slots=True)
class Plan:
    """One schedule."""

    seed: int
    threads: tuple[ThreadId, ...]
    actions: tuple[Action, ...]
    misfortunes: tuple[Fault, ...]
    climate: FaultProfile
    scripts: dict[RunId, Script | None] = field(default_factory=dict)

    @property
    def specs(self) -> list[RunSpec]:
        return [spec for action in self.actions if isinstance(action, Submit) for spec in action.specs]
