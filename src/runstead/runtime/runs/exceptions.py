"""Exceptions of the runs API. Each text says what happened and what to do."""

from __future__ import annotations

from collections.abc import Sequence

from .types import CronId, RunId, RunStatus, ThreadId


class RunError(Exception):
    """Base class of all errors about runs."""


class RunNotFound(RunError):
    """The actor has no such run: it is unknown, deleted, on another thread, or belongs to another user."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} was not found")


class ThreadNotFound(RunError):
    """The actor has no such thread."""

    def __init__(self, thread_id: ThreadId) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id} was not found; create it first, or pass if_not_exists='create'")


class ThreadBusy(RunError):
    """Another run is in flight on this thread, and the operation needs an idle thread."""

    def __init__(self, run_ids: Sequence[RunId]) -> None:
        self.run_ids = tuple(run_ids)
        busy = ", ".join(self.run_ids)
        super().__init__(f"thread is busy with {busy}; wait, or use multitask_strategy='enqueue'")


class CronMoved(RunError):
    """The cron is not due at this time any more: another worker ran it, or it was changed, disabled or deleted."""

    def __init__(self, cron_id: CronId) -> None:
        super().__init__(f"cron {cron_id} is not due at this moment any more")


class RunConflict(RunError):
    """A run with this id exists already."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} exists already; leave run_id out to get a new one")


class IdempotencyMismatch(RunError):
    """This idempotency key has created a run from a different request."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"this idempotency key has created run {run_id} from a different request; use a new key")


class RunNotRetriable(RunError):
    """Only a dead letter can be retried."""

    def __init__(self, run_id: RunId, status: RunStatus) -> None:
        self.run_id, self.status = run_id, status
        super().__init__(f"run {run_id} is {status.value}, not a dead letter; create a new run instead")


class InvalidRunSpec(RunError):
    """The specification contradicts itself, or refers to something that does not exist."""


class StateLost(RunError):
    """The thread's latest state is older than what its last run left, since that is not stored any more."""

    def __init__(self, thread_id: ThreadId, checkpoint_id: str) -> None:
        self.thread_id, self.checkpoint_id = thread_id, checkpoint_id
        super().__init__(
            f"the latest state of thread {thread_id} is lost: its checkpoint {checkpoint_id} is no longer stored. "
            "Restore the checkpoints from a backup, or send the run with the checkpoint_id of an older state from the "
            "thread's history"
        )


class UnknownInterruptError(RunError):
    """A strict resume answers an interrupt that is not pending (any more). The thread is unchanged."""

    def __init__(self, interrupt_ids: Sequence[str], pending_ids: Sequence[str]) -> None:
        self.interrupt_ids, self.pending_ids = tuple(interrupt_ids), tuple(pending_ids)
        answered = f"interrupt {', '.join(self.interrupt_ids)}" if self.interrupt_ids else "an interrupt"
        waiting = f"only {', '.join(self.pending_ids)}" if self.pending_ids else "nothing"
        super().__init__(f"the resume answers {answered}, and {waiting} waits for an answer; read the thread's state")


class AgentNotFound(RunError):
    """No graph is registered under this id."""

    def __init__(self, graph_id: str, known: Sequence[str] = ()) -> None:
        self.graph_id, self.known = graph_id, tuple(known)
        names = ", ".join(self.known) or "none"
        super().__init__(f"no graph is called {graph_id!r}; registered graphs: {names}")


class GraphCodeFailed(RunError):
    """The graph's own code failed outside a run: its factory, a reducer, a validator or a schema."""

    def __init__(self, graph_id: str, words: str) -> None:
        """Create the error. ``words`` is the text that clients may see."""
        self.graph_id, self.words = graph_id, words
        super().__init__(f"The code of graph {graph_id!r} failed: {words}")


class LeaseLost(RunError):
    """A late worker: another worker has claimed the run, or the lease has expired. Its writes do not count."""

    def __init__(self, run_id: RunId, attempt: int) -> None:
        self.run_id, self.attempt = run_id, attempt
        super().__init__(f"attempt {attempt} of run {run_id} no longer holds its lease")


class RollbackRequested(RunError):
    """The run cannot be settled with this outcome, since a rollback was requested. Roll it back, then settle it as
    rolled back."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} is to be rolled back; undo its checkpoints before it is settled")


class IllegalTransition(RunError):
    """A status transition that the transition table does not contain."""

    def __init__(self, run_id: RunId, before: RunStatus, after: RunStatus) -> None:
        self.run_id, self.before, self.after = run_id, before, after
        super().__init__(f"run {run_id} cannot go from {before.value} to {after.value}")


class AgentTimeout(RunError):
    """The graph's own code did not return in time."""

    def __init__(self, graph_id: str, seconds: float | None = None) -> None:
        """Create the error. ``seconds`` is None if the code's loop was abandoned, or its server stops."""
        within = "" if seconds is None else f" within {seconds:g} seconds"
        super().__init__(f"The code of graph {graph_id!r} did not answer{within}; send the request again in a moment")
