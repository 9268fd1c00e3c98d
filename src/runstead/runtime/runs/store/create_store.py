"""Port for the creation of runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from ..steering import SteeringMessage
from ..types import MultitaskStrategy, RunId, RunRecord, RunSpec, StopReason


@dataclass(frozen=True, slots=True)
class Admit:
    """Admit the run. First stop the runs in ``stopping`` for ``reason``; the new run begins when they have settled."""

    stopping: tuple[RunId, ...] = ()
    reason: StopReason | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Refuse the run: the thread is busy with these runs."""

    busy_with: tuple[RunId, ...]


@dataclass(frozen=True, slots=True)
class Steer:
    """Accept the run's input as a message for the first run in flight of the same user and assistant; admit the run if
    there is none."""


Admission: TypeAlias = Admit | Refuse | Steer
Decide: TypeAlias = Callable[[MultitaskStrategy, Sequence[RunId]], Admission]
"""Pure function of the strategy and the runs in flight, oldest first."""


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """Result of a creation: the new row; the held runs that were flagged to stop; the pending runs that ended at once.

    ``ended`` contains the records as they ended (status ``interrupted``), including those whose row a rollback deleted.
    ``repeated`` means that nothing was created: an earlier identical request had created this run. With ``message``,
    no run was created either: ``record`` is the run in flight that the message waits for.
    """

    record: RunRecord
    stopping: tuple[RunId, ...] = ()
    ended: tuple[RunRecord, ...] = ()
    repeated: bool = False
    message: SteeringMessage | None = None


class RunCreateStore(Protocol):
    """Creation of runs under the bound actor (ActorRequired without one)."""

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        """Write the rows of ``specs``, in order, in ONE transaction: all or none.

        For each spec, the thread is locked. It is created if the scope says so or the run is stateless (otherwise
        ThreadNotFound, also for another user's thread, even one named with ``if_not_exists="create"``). Then ``decide``
        gets the runs in flight, which are all that have not ended. Refuse raises ThreadBusy. Admit sets the durable
        stop flag of held runs in ``stopping``, and of pending runs that have begun before (their next holder stops them
        properly). It ends the other pending runs at once (deletes them if the reason rolls back). The thread becomes
        ``busy``, also for a delayed run (``after_seconds``); graph_id and assistant_id are added to its metadata.
        Steer stores the input as a steering message (its id is the one that the run would have) and creates no run;
        raises TooManyMessages if too much waits on the thread.
        ``run_id`` and ``thread_id`` are generated (uuid7) if the spec omits them; a ``run_id`` that exists raises
        RunConflict.

        A spec with ``idempotency`` is looked up before anything else: a key that has created a run of this actor
        returns that run in its present state and changes nothing. The key is written together with the row, so that of
        many concurrent calls only one creates a run. Raises IdempotencyMismatch if the fingerprint differs, and
        RunNotFound if the run no longer exists: keys are kept for at least a day, even if their run is deleted.

        A spec with ``tick`` is created together with the cron's move to its next date. Raises CronMoved without
        creating anything unless the cron belongs to the actor, is enabled, and is due at exactly that time.

        When the call returns, the rows survive a crash, and pending runs are on their way to a worker: creating a run
        also enqueues it.
        """
        ...
