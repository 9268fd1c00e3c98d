"""Outcome of an attempt for its run and its thread. Pure: the same end and state give the same outcome."""

from __future__ import annotations

from typing import Final

from runstead.runtime.field_encryption import EncryptionFailed
from runstead.runtime.runs.budgets import BudgetAnswerRefused, BudgetExceeded
from runstead.runtime.runs.error_redaction import ErrorRedactor
from runstead.runtime.runs.exceptions import StateLost, UnknownInterruptError
from runstead.runtime.runs.interrupts import is_refused_answer
from runstead.runtime.runs.types import (
    ModelUsage,
    Outcome,
    RunCompletionData,
    RunFailure,
    RunStatus,
    StopReason,
    ThreadOutcome,
    ThreadStatus,
)

from ....json_types import JsonObject
from .. import lifecycle
from .attempt import AttemptEnd
from .exhaustion import out_of_memory
from .snapshot import StateSnapshot

_TIMED_OUT: Final = RunFailure(
    "RunTimeout",
    "The run took longer than its timeout allows. Its steps so far are kept; a run without an input continues them.",
)
_OUT_OF_MEMORY: Final = RunFailure(
    "MemoryError",
    "The worker ran out of memory while executing this run, in every attempt that max_attempts allows. Give workers "
    "more memory, execute fewer runs at once, or let the run use less.",
)
_ROLLED_BACK: Final = RunFailure("UserRollback", "the run was stopped and rolled back")


def resolve_outcome(
    end: AttemptEnd,
    stop: StopReason | None,
    left: StateSnapshot,
    completion: RunCompletionData,
    usage: tuple[ModelUsage, ...],
    title: str | None,
    texts: ErrorRedactor,
) -> Outcome:
    """Return the outcome of a run that left its thread in the state ``left``. Errors are stored as they may be shown to
    clients.

    A stop has no effect if it arrived after the agent had ended by itself.
    """
    if not end.stopped:
        stop = None
    failure: RunFailure | None = None
    if end.error is not None:
        status, failure = RunStatus.ERROR, _failure_of(end.error, texts)
    elif stop is None:
        status = RunStatus.SUCCESS
    else:
        status = lifecycle.status_after(stop)
        failure = _TIMED_OUT if stop is StopReason.TIMED_OUT else None
    failure_of_thread = failure or (RunFailure("UserInterrupt", f"the run was stopped: {stop.value}") if stop else None)
    thread_status: ThreadStatus = "error" if end.error is not None else _resting(left)
    if isinstance(end.error, UnknownInterruptError | BudgetAnswerRefused) or is_refused_answer(end.error):
        # The thread is unchanged: it still waits for the same input.
        failure_of_thread, thread_status = None, _resting(left)
    return Outcome(
        status=status,
        thread=ThreadOutcome(thread_status, left.values, left.interrupts, failure_of_thread),
        failure=failure,
        completion=completion,
        usage=usage,
        # A refused run leaves the loss as it was, so that the thread's next run is refused too.
        final_checkpoint_id=end.error.checkpoint_id if isinstance(end.error, StateLost) else left.checkpoint_id,
        output=end.output,
        title=title,
    )


def rollback_outcome(restored: StateSnapshot, completion: RunCompletionData, usage: tuple[ModelUsage, ...]) -> Outcome:
    """Return the outcome of a run that was rolled back.

    The thread keeps its stored values from before the run: only settling writes them.
    """
    return Outcome(
        status=RunStatus.INTERRUPTED,
        thread=ThreadOutcome(_resting(restored), None, restored.interrupts, _ROLLED_BACK),
        completion=completion,
        usage=usage,
        rolled_back=True,
    )


def unencryptable_outcome(outcome: Outcome, error: EncryptionFailed) -> Outcome:
    """Return the outcome of a run whose results the encryption handlers could not encrypt: the run has failed.

    The thread keeps its stored values from before the run. Its checkpoints stay.
    """
    failure = RunFailure(type(error).__name__, str(error))
    return Outcome(
        status=outcome.status if outcome.rolled_back else RunStatus.ERROR,
        thread=ThreadOutcome("idle" if outcome.rolled_back else "error", error=failure),
        failure=failure,
        usage=outcome.usage,
        final_checkpoint_id=outcome.final_checkpoint_id,
        rolled_back=outcome.rolled_back,
    )


def _failure_of(error: Exception, texts: ErrorRedactor) -> RunFailure:
    if out_of_memory(error):
        return _OUT_OF_MEMORY
    facts: JsonObject = {}
    if isinstance(error, UnknownInterruptError):
        facts = {
            "reason": "unknown_interrupt",
            "interrupt_ids": list(error.interrupt_ids),
            "pending_ids": list(error.pending_ids),
        }
    if isinstance(error, BudgetExceeded):
        facts = {"budget": error.level.to_json()}
    return RunFailure(type(error).__name__, texts.message(error), facts)


def _resting(state: StateSnapshot) -> ThreadStatus:
    return "interrupted" if state.is_waiting else "idle"
