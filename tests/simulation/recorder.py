"""A recorder of everything that happens in a simulation, for the checks of the laws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.observer import RunLifecycleEvent
from runstead.runtime.runs.types import RunId, RunRecord, RunSpec, RunStatus
from runstead.runtime.stream_bridge.contract import StreamItem
from runstead.testing.fakes import Script

ExpectedEnd: TypeAlias = Literal["accepted", "refused", "unknown"]
"""The outcome as known to the creating client: accepted, refused, or cut off before the response."""


@dataclass(slots=True)
class Wanted:
    """A run that a client asked for, and the operations requested on it."""

    spec: RunSpec
    script: Script | None
    fate: ExpectedEnd = "unknown"
    accepted_at: float | None = None
    stop_asked: bool = False
    delete_asked: bool = False
    retry_asked: bool = False

    @property
    def run_id(self) -> RunId:
        assert self.spec.run_id is not None, "clients of a simulation name their runs"
        return self.spec.run_id


@dataclass(frozen=True, slots=True)
class Move:
    """One committed change of a run's row. ``after`` is None if it was deleted."""

    at: float
    before: RunRecord | None
    after: RunRecord | None


@dataclass(frozen=True, slots=True)
class Published:
    """An event that a bridge accepted, and whether the run had ended durably by then."""

    process: str
    at: float
    event_id: str
    name: str
    data: bytes
    terminal: bool
    was_durable: bool


@dataclass(slots=True)
class Reading:
    """All items that one client received of one run, over all its connections. None stands for a broken connection."""

    run_id: RunId
    whole: bool
    items: list[StreamItem | None] = field(default_factory=list)
    processes: list[str] = field(default_factory=list)
    ended: bool = False


@dataclass(slots=True)
class Recorder:
    """The record of all requests, writes, publications, readings and notifications."""

    now: Callable[[], float]
    wanted: dict[RunId, Wanted] = field(default_factory=dict)
    moves: dict[RunId, list[Move]] = field(default_factory=dict)
    all_moves: list[Move] = field(default_factory=list)
    published: dict[RunId, list[Published]] = field(default_factory=dict)
    readings: list[Reading] = field(default_factory=list)
    published_ends: list[tuple[str, bool, RunLifecycleEvent]] = field(default_factory=list)
    told_as: list[ActorContext] = field(default_factory=list)
    """The bound actor of each notification of observers; in the same order as the notifications."""
    surprises: list[str] = field(default_factory=list)
    """Observations of clients that must not occur."""

    def moved(self, before: RunRecord | None, after: RunRecord | None) -> None:
        record = after or before
        assert record is not None
        move = Move(self.now(), before, after)
        self.moves.setdefault(record.run_id, []).append(move)
        self.all_moves.append(move)

    def statuses(self, run_id: RunId) -> list[RunStatus]:
        """Return the statuses that a run went through, without repetitions."""
        seen: list[RunStatus] = []
        for move in self.moves.get(run_id, ()):
            if move.after is not None and (not seen or seen[-1] is not move.after.status):
                seen.append(move.after.status)
        return seen

    def last(self, run_id: RunId) -> RunRecord | None:
        """Return the latest record, also if the run was deleted since."""
        moves = self.moves.get(run_id)
        return None if not moves else moves[-1].after or moves[-1].before
