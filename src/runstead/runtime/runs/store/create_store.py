"""Port: runs come into being."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..types import MultitaskStrategy, RunId, RunRecord, RunSpec, Stopped


@dataclass(frozen=True, slots=True)
class Admit:
    """Let the run in. First stop the runs in ``stopping``, for ``reason``; it begins when they have settled."""

    stopping: tuple[RunId, ...] = ()
    reason: Stopped | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not let the run in: the thread is busy with these."""

    busy_with: tuple[RunId, ...]


Admission: TypeAlias = Admit | Refuse
Decide: TypeAlias = Callable[[MultitaskStrategy, Sequence[RunId]], Admission]
"""Pure. Takes the strategy and the runs in flight, the oldest first."""


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """What a creation did: the new row; the held runs that were flagged to stop; the waiting ones that ended at once.

    ``ended`` holds the records as they ended (status ``interrupted``), also of those whose row a rollback deleted.
    ``repeated``: nothing was created, for this run had been made from the same request before.
    """

    record: RunRecord
    stopping: tuple[RunId, ...] = ()
    ended: tuple[RunRecord, ...] = ()
    repeated: bool = False


class RunCreateStore(Protocol):
    """Creates runs under the bound actor (ActorRequired without one)."""

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        """Write the rows of ``specs``, in order, in ONE transaction; all or none.

        For each: the thread is locked; it is created when the scope says so or the run is stateless
        (ThreadNotFound otherwise, also for somebody else's thread, even one named by ``if_not_exists="create"``);
        ``decide`` is asked with the runs in flight: all that have not ended. Refuse raises ThreadBusy.
        Admit sets the durable stop flag of held runs in ``stopping``, and of pending ones that have begun before (their
        next holder stops them properly), and ends the others at once (deletes them, for a reason that undoes). The
        thread becomes ``busy``, also for a delayed run (``after_seconds``); its metadata gets graph_id and
        assistant_id. ``run_id`` and ``thread_id`` are minted (uuid7) where the spec leaves them out; a taken run_id
        raises RunConflict.

        A spec with ``idempotency`` is looked up before anything else: a key that has made a run of this actor's gives
        that run as it stands now, and changes nothing. The key is written together with the row, so of many such
        calls at once one creates. IdempotencyMismatch when the fingerprint is another one; RunNotFound when the run
        is gone: keys are remembered for a day at least, whatever becomes of their runs.

        A spec with ``tick`` is created together with the cron's move to its next date; CronMoved, and nothing is
        created, unless the cron is the actor's, enabled, and due at that very moment.

        When the call returns, the rows survive a crash, and waiting runs are on their way to a worker:
        a run is queued by being created.
        """
        ...
