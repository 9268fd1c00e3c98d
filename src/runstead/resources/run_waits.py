"""Reasons why a run does not go on: facts about its time, its thread, its worker and the slots, as one port."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from runstead.runtime.runs.types import RunId, ThreadId


@dataclass(frozen=True, slots=True)
class HeldRun:
    """A run that a worker holds: executed until ``lease_until``, unless the lease is renewed before."""

    run_id: RunId
    thread_id: ThreadId
    worker: str
    attempt: int
    lease_until: datetime


@dataclass(frozen=True, slots=True)
class RunWait:
    """The facts about a run that does not go on, at ``now``.

    ``before``: the run of its thread that comes first, ``held`` its lease, None while that run waits itself.
    ``held_runs``: the number of runs of all users that occupy slots; ``own_held`` are some that the actor reaches.
    """

    now: datetime
    due_at: datetime
    own_lease: HeldRun | None = None
    before: RunId | None = None
    held: HeldRun | None = None
    held_runs: int = 0
    own_held: Sequence[HeldRun] = ()


class RunWaitReader(Protocol):
    """Reader of RunWait, for runs that the actor has access to."""

    async def read(self, run_id: RunId) -> RunWait | None:
        """Return what the run waits for; None if it has ended, or the actor has no access to it."""
        ...
