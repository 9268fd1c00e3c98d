"""Port for leases: which worker executes which run, and until when.

These calls serve workers, not users, and are not scoped by an actor. A lease carries the run's actor; the executor
binds it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol

from ..types import (
    Lease,
    ModelUsage,
    Outcome,
    RunCompletionData,
    RunId,
    RunRecord,
    StopReason,
    ThreadStatus,
    WorkerId,
)

SUSPECT_LOSSES: Final = 2
"""Number of lost workers from which on a run waits in its next worker for a while before it begins again."""
UNCOUNTED_STARTS: Final = 20
"""Maximum number of lost workers that are not counted because the run was waiting."""


@dataclass(frozen=True, slots=True)
class StopRequest:
    """Result of a stop request.

    ``ended``: the run had never begun and has ended now (deleted, if the reason rolls back). ``flagged``: a worker
    holds the run and must be notified, or the run has begun before and its next holder will stop it properly.
    ``already_ended``: nothing changed. ``record`` is the run after that; ``thread_status`` is the thread's, if this
    request ended the run.
    """

    effect: Literal["ended", "flagged", "already_ended"]
    record: RunRecord
    thread_status: ThreadStatus | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """Settled run as it ended, and its thread's new status (``busy`` while another due run waits).

    ``has_messages``: steering messages of the thread are open.
    """

    record: RunRecord
    thread_status: ThreadStatus
    has_messages: bool = False


@dataclass(frozen=True, slots=True)
class Recovery:
    """Result for a run whose lease had expired: ``waiting`` (pending again), or ``dead`` (a dead letter)."""

    result: Literal["waiting", "dead"]
    record: RunRecord


class RunLeaseStore(Protocol):
    """Leases of runs.

    Every write of a holder carries its lease. It raises LeaseLost if a newer attempt exists, or the lease has expired
    and was recovered (fencing).
    """

    async def claim(self, run_id: RunId, worker: WorkerId, term: timedelta) -> Lease | None:
        """Claim a pending run for ``term`` (status ``starting``) and increment its attempt; None if it is not
        claimable.

        A run is claimable if it is pending, due, and the head of its thread: no other run of the thread is held, and no
        due run precedes it. A run that has begun (``started_at``) precedes all that have not; then the lower
        ``queue_seq`` decides. No two workers ever hold the same attempt.
        """
        ...

    async def renew(self, lease: Lease, term: timedelta) -> Lease:
        """Extend the lease to ``term`` from now. The returned lease's ``run.stop_requested`` is the present stop flag.

        Raises LeaseLost.
        """
        ...

    async def begin(self, lease: Lease, base_checkpoint_id: str | None) -> Lease:
        """Set the status to ``running``. The first attempt that begins also records ``started_at`` and the base
        checkpoint; later attempts keep these. Raises LeaseLost."""
        ...

    async def record_usage(self, lease: Lease, completion: RunCompletionData, usage: Sequence[ModelUsage]) -> None:
        """Write what the run came to so far, and the usage of this attempt, which `RunUsageStore` reads.

        Each call has the whole usage of the attempt, and replaces what an earlier one wrote. Raises LeaseLost.
        """
        ...

    async def settle(self, lease: Lease, outcome: Outcome) -> Settled:
        """Write the run's outcome and its thread's status, values and interrupts in one transaction. Idempotent.

        The thread's next pending run becomes its head in the same transaction; the thread stays ``busy`` while a due
        run waits. The row of a rolled-back run is deleted, and the thread's metadata get the graph and assistant of the
        run before it; a temporary thread is deleted. ``outcome.usage`` is kept in any case. ``outcome.title`` becomes
        ``metadata.title``, unless the values have a new one. Raises LeaseLost if another worker has claimed the run
        since. Raises RollbackRequested if a stop that rolls back was requested and the outcome is not rolled back: its
        caller was promised that nothing remains.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Hand the run back: it is ``pending`` again at once, for any worker. Does not count as a lost attempt. Raises
        LeaseLost."""
        ...

    async def request_stop(self, run_id: RunId, reason: StopReason) -> StopRequest | None:
        """Request durably that a run stops; None if it is unknown. The first reason counts, except that a reason that
        rolls back replaces one that does not."""
        ...

    async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
        """Return runs that are claimable now: those due for longest first or, if groups of runs take turns, in fair
        order (see `fair_turns`).

        With turns, the runs after the first ``shared`` belong to groups that have no executing run; None means no such
        limit.
        """
        ...

    async def next_due(self) -> datetime | None:
        """Return the time at which the next delayed run becomes due; None if no run is delayed."""
        ...

    async def list_expired(self, limit: int = 100) -> Sequence[RunId]:
        """Return up to ``limit`` held runs whose lease has expired."""
        ...

    async def list_ended_before(self, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
        """Return those of these runs that ended before that time, of all users."""
        ...

    async def recover(self, run_id: RunId, max_attempts: int) -> Recovery | None:
        """Recover a run whose lease has expired, and count one lost attempt; None if its lease is not expired any more.

        An attempt that had not begun is not counted if the run has lost SUSPECT_LOSSES workers before: it was waiting,
        and did not end this worker. At most UNCOUNTED_STARTS are not counted, in case that reading it does.

        The run is ``waiting`` again, unless it has lost ``max_attempts`` workers (the spec's own ``max_attempts`` takes
        precedence) and no stop was requested. Then it is a dead letter: status ``error``, failure
        ``AttemptsExhausted``, thread status ``error``. A run with a stop request becomes pending again and keeps its
        flag, so that the next holder stops it properly.
        """
        ...

    async def abandon_all(self) -> int:
        """Expire all leases now; return their number. Only for the single process that owns the database, at its start:
        the process that held them is dead."""
        ...

    async def release_all(self) -> int:
        """Hand all held runs back, as `release` does; return their number. Only for the single process that owns the
        database, at its start, after it has ended the process that held them: no worker was lost, and no lost attempt
        is counted."""
        ...

    async def retry(self, run_id: RunId) -> RunRecord | None:
        """Make a dead letter ``pending`` again with its lost attempts reset; None if it is unknown. Raises
        RunNotRetriable, ThreadBusy."""
        ...
