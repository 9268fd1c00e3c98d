"""Port: who executes which run, and for how long that holds.

The runtime's own side: these calls serve workers, not users, and are not scoped by an actor.
A lease carries the run's actor; the executor binds it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol

from ..types import Lease, Outcome, RunId, RunRecord, Stopped, ThreadStatus, WorkerId


@dataclass(frozen=True, slots=True)
class StopRequest:
    """What asking a run to stop came to.

    ``ended``: it had never begun and has ended now (deleted, for a reason that undoes); ``flagged``: somebody holds it,
    tell them, or it has begun before and waits for its next holder to stop it properly; ``already_ended``: nothing
    was changed. ``record`` is the run as it stands after that; ``thread_status`` is the thread's, when the run has
    ended by this.
    """

    effect: Literal["ended", "flagged", "already_ended"]
    record: RunRecord
    thread_status: ThreadStatus | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """A settled run, as it ended, and the status in which its thread is now (``busy`` while another due run waits)."""

    record: RunRecord
    thread_status: ThreadStatus


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of a run whose lease had lapsed: ``waiting`` again, or ``dead`` (a dead letter)."""

    fate: Literal["waiting", "dead"]
    record: RunRecord


class RunLeaseStore(Protocol):
    """Every write of a holder carries the lease; a stale attempt, or a lapsed lease that was recovered, raises
    LeaseLost.
    """

    async def claim(self, run_id: RunId, worker: WorkerId, term: timedelta) -> Lease | None:
        """Take a waiting run for the time of ``term`` (status ``starting``); None when it is not to be had.

        To be had is a run that is pending, due, and the head of its thread: no other run of the thread is held, and
        no due one goes before it. Who has begun (``started_at``) goes on before anybody else begins; then the lower
        ``queue_seq`` counts. No two workers hold the same attempt: every claim raises ``attempt``.
        """
        ...

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        """Hold for another ``term`` from now. The returned lease's ``run.stop_requested`` is the flag as it stands now.

        Raises LeaseLost.
        """
        ...

    async def begin(self, lease: Lease, base_checkpoint_id: str | None) -> Lease:
        """Status ``running``. On the first attempt that begins, ``started_at`` and the base checkpoint are recorded;
        a later attempt keeps what is there. Raises LeaseLost.
        """
        ...

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        """Write how the run ended, and its thread's status, values, interrupts, in one transaction. Settling twice is
        settling once.

        The thread's next waiting run becomes its head in the same transaction; the thread stays ``busy`` while a due
        run waits. An undone run's row is deleted, and the thread's metadata name the graph and assistant of the run
        before it; a temporary thread is deleted. ``outcome.title`` becomes ``metadata.title``. Raises LeaseLost when
        someone has claimed the run since: their word counts. Raises RollbackRequested when a stop that undoes was
        asked for and the outcome is not undone: whoever asked was promised that nothing is left.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Hand the run back: ``pending`` again, for any worker, at once. Not counted as a lapse. Raises LeaseLost."""
        ...

    async def request_stop(self, run_id: RunId, reason: Stopped) -> StopRequest | None:
        """Stop a run, durably; None when it is unknown. The first reason counts, except that one that undoes
        replaces one that does not.
        """
        ...

    async def waiting(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
        """Runs that could be claimed now: those due for longest first or, where groups of runs take turns, in fair
        order (see `fair_turns`).

        With turns, those after the first ``shared`` are of groups that execute no run; None: there is no such limit.
        """
        ...

    async def next_due(self) -> datetime | None:
        """When the next delayed run falls due; None when none is delayed."""
        ...

    async def lapsed(self, limit: int = 100) -> Sequence[RunId]:
        """Held runs whose lease has run out."""
        ...

    async def ended(self, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
        """Those of these runs that ended before that moment, whoever they belong to."""
        ...

    async def recover(self, run_id: RunId, max_attempts: int) -> Recovery | None:
        """Free a run whose lease has run out; None when that is no longer so. Counts one lapse.

        ``waiting`` again, unless it has lapsed ``max_attempts`` times (the spec's own ``max_attempts`` comes first)
        and no stop was asked for: then it is a dead letter, status ``error``, failure ``AttemptsExhausted``, thread
        status ``error``. A run that was asked to stop goes back to waiting with its flag, for the next holder to stop
        it properly.
        """
        ...

    async def abandon_all(self) -> int:
        """Let every lease lapse now; returns how many. Only for the one process that owns the storage, at its start:
        whoever held them is dead.
        """
        ...

    async def release_all(self) -> int:
        """Hand every held run back, as `release` does; returns how many. Only for the one process that owns the
        storage, at its start, after it has ended the process that held them: no worker was lost, and no lapse counts.
        """
        ...

    async def retry(self, run_id: RunId) -> RunRecord | None:
        """Put a dead letter back to ``pending`` with its lapses forgotten; None when unknown. Raises RunNotRetriable,
        ThreadBusy.
        """
        ...
