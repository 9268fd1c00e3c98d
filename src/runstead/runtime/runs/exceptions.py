"""What a caller of the runs API may meet. Every text says what happened and the way out."""

from __future__ import annotations

from collections.abc import Sequence

from .types import RunId, RunStatus, ThreadId


class RunError(Exception):
    """Root of all errors about runs."""


class RunNotFound(RunError):
    """No such run for this actor: unknown, deleted, on another thread, or somebody else's."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} was not found")


class ThreadNotFound(RunError):
    """No such thread for this actor."""

    def __init__(self, thread_id: ThreadId) -> None:
        self.thread_id = thread_id
        super().__init__(f"thread {thread_id} was not found; create it first, or pass if_not_exists='create'")


class ThreadBusy(RunError):
    """Another run is in flight on this thread, and what was asked needs it to be idle."""

    def __init__(self, run_ids: Sequence[RunId]) -> None:
        self.run_ids = tuple(run_ids)
        busy = ", ".join(self.run_ids)
        super().__init__(f"thread is busy with {busy}; wait, or use multitask_strategy='enqueue'")


class CronMoved(RunError):
    """The cron is not due at this moment any more: it was run by somebody else, changed, switched off or deleted."""

    def __init__(self, cron_id: str) -> None:
        super().__init__(f"cron {cron_id} is not due at this moment any more")


class RunConflict(RunError):
    """A run with this id exists already."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} exists already; leave run_id out to get a new one")


class IdempotencyMismatch(RunError):
    """This idempotency key has made a run from another request."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"this idempotency key has created run {run_id} from a different request; use a new key")


class RunNotRetriable(RunError):
    """Only a dead letter can be retried."""

    def __init__(self, run_id: RunId, status: RunStatus) -> None:
        self.run_id, self.status = run_id, status
        super().__init__(f"run {run_id} is {status.value}, not a dead letter; create a new run instead")


class InvalidRunSpec(RunError):
    """The specification contradicts itself, or asks for what does not exist."""


class UnknownInterruptError(RunError):
    """A strict resume answers what its thread does not ask (any more). The thread is as it was."""

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
    """The graph's own code raised outside of a run: its factory, a reducer, a validator, a schema."""

    def __init__(self, graph_id: str, words: str) -> None:
        """``words`` are what clients may be told of the error."""
        self.graph_id, self.words = graph_id, words
        super().__init__(f"The code of graph {graph_id!r} failed: {words}")


class LeaseLost(RunError):
    """A late worker: the run was claimed by another since, or the lease's time has passed. Its word does not count."""

    def __init__(self, run_id: RunId, attempt: int) -> None:
        self.run_id, self.attempt = run_id, attempt
        super().__init__(f"attempt {attempt} of run {run_id} no longer holds its lease")


class RollbackRequested(RunError):
    """The run cannot be settled as it is: a rollback was asked for. Undo it, then settle it as undone."""

    def __init__(self, run_id: RunId) -> None:
        self.run_id = run_id
        super().__init__(f"run {run_id} is to be rolled back; undo its checkpoints before it is settled")


class IllegalTransition(RunError):
    """A status move that the lifecycle table does not know."""

    def __init__(self, run_id: RunId, before: RunStatus, after: RunStatus) -> None:
        self.run_id, self.before, self.after = run_id, before, after
        super().__init__(f"run {run_id} cannot go from {before.value} to {after.value}")
