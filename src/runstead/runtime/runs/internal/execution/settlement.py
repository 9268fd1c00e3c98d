"""Settlement of an attempt whose run has ended: the terminal status first, then the terminal event, then the observers.

Law 4: settle first, publish second. The status is written under the lease, so that a later attempt refuses it.
"""

from __future__ import annotations

import logging

from runstead.runtime.field_encryption import EncryptionFailed
from runstead.runtime.runs.callbacks.builder import RunCallbacks
from runstead.runtime.runs.exceptions import RollbackRequested
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.secrets import secret_names
from runstead.runtime.runs.store import Settled
from runstead.runtime.runs.types import NO_INTERRUPTS, Lease, Outcome, RunStatus, StopReason
from runstead.runtime.serialization import encode
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.user_code.thread_loop import LoopLost

from .. import lifecycle
from ..lifecycle_events import RunEventEmitter
from ..streaming.publisher import RunPublisher, terminal_kind
from .attempt import AttemptEnd
from .latest_states import LatestStates
from .lease_guard import LeaseGuard
from .outcome import resolve_outcome, rollback_outcome, unencryptable_outcome
from .questions import EarlierQuestion
from .registry import RunHandle
from .required_observers import confirm_end
from .snapshot import StateSnapshot, read_stored
from .waiting_messages import WaitingMessages

_log = logging.getLogger(__name__)


class Settlement:
    """Settlement of the run that a handle holds. Every step is retried until the database is available."""

    def __init__(
        self,
        handle: RunHandle,
        runtime: RunsRuntime,
        guard: LeaseGuard,
        callbacks: RunCallbacks,
        publisher: RunPublisher,
        events: RunEventEmitter,
        question: EarlierQuestion,
        states: LatestStates,
    ) -> None:
        self._handle, self._runtime, self._guard, self._states = handle, runtime, guard, states
        self._callbacks, self._publisher, self._events = callbacks, publisher, events
        self._question = question

    async def settle(self, end: AttemptEnd, stop: StopReason | None) -> None:
        """Settle the run by the end of its attempt and the reason of its stop, and report the end. Raises LeaseLost."""
        outcome = await self._outcome(end, stop)
        lifecycle.check(self._lease.run_id, self._lease.run.status, outcome.status)
        # Sync the state first: a run must not be reported as ended if a power failure could lose its state.
        await self._guard.retry("synced", self._runtime.checkpoints.sync)
        required = self._runtime.required_observers
        if required and not outcome.rolled_back:
            event = self._events.intended_end(outcome, stop)
            outcome = await confirm_end(required, event, outcome, self._runtime.clock)
        settled, outcome = await self._guard.retry("settled", lambda: self._write(outcome))
        if outcome.final_checkpoint_id is not None and settled.record.started_at is not None:
            self._states.remember(self._lease.thread_id, outcome.final_checkpoint_id)
        if settled.has_messages:
            await self._move_messages(outcome)
        await self._publisher.end(*terminal_kind(outcome))
        if outcome.status is RunStatus.SUCCESS and outcome.thread.interrupts != NO_INTERRUPTS:
            await self._publisher.awaiting_input()
        elif outcome.status is RunStatus.ERROR and outcome.thread.status == "interrupted":
            await self._question.refused()
        await self._events.ended(settled.record, settled.thread_status, title=outcome.title, stop=stop)
        await self._clean_up()

    @property
    def _lease(self) -> Lease:
        return self._handle.lease

    async def _outcome(self, end: AttemptEnd, stop: StopReason | None) -> Outcome:
        """Return the outcome of the run; that of a rollback once the thread's checkpoints are restored."""
        if stop is not None and stop.rolls_back:
            return await self._guard.retry("undone", self._roll_back)
        left = end.snapshot
        if left is None:
            left = await self._guard.retry("read", self._latest)
        completion, usage = self._callbacks.completion_data(), self._callbacks.usage()
        return resolve_outcome(end, stop, left, completion, usage, self._callbacks.title, self._runtime.error_redactor)

    async def _roll_back(self) -> Outcome:
        await self._runtime.checkpoints.undo(self._lease.thread_id, self._lease.run_id)
        return rollback_outcome(await self._latest(), self._callbacks.completion_data(), self._callbacks.usage())

    async def _move_messages(self, outcome: Outcome) -> None:
        """Let a message that this run has not taken start the next one, and tell this run's readers."""
        if self._runtime.steering is None:
            return
        try:
            waiting = WaitingMessages(self._runtime, self._runtime.steering)
            moved = await waiting.run_ended(self._lease.thread_id, is_paused=outcome.thread.interrupts != NO_INTERRUPTS)
        except Exception:
            # A scan does it later.
            _log.warning("messages for thread %s still wait", self._lease.thread_id, exc_info=True)
            return
        if moved is not None:
            told = {"event": "moved", "message_id": moved.message_id, "run_id": moved.run.run_id}
            await self._publisher.publish("steering", encode(told))

    async def _latest(self) -> StateSnapshot:
        try:
            return await read_stored(self._runtime.checkpoints.saver, self._lease.thread_id)
        except StorageFault as fault:
            if fault.kind != "damaged":
                raise
            # Another read gives the same error: the run ends, and its thread has no readable state.
            _log.warning("run %s ends without a state: %s", self._lease.run_id, fault)
            return StateSnapshot()

    async def _write(self, outcome: Outcome) -> tuple[Settled, Outcome]:
        """Write the terminal status, and return the result with the outcome that was written: a rollback may have been
        requested in the meantime."""
        leases = self._runtime.lease_store
        try:
            return await leases.settle(self._lease, outcome), outcome
        except RollbackRequested:
            undone = await self._roll_back()
            await self._runtime.checkpoints.sync()
            return await leases.settle(self._lease, undone), undone
        except EncryptionFailed as error:
            if isinstance(error.__cause__, LoopLost):
                # Not a failure of the handlers: settling is tried again, on another loop or in another process.
                raise
            failed = unencryptable_outcome(outcome, error)
            return await leases.settle(self._lease, failed), failed

    async def _clean_up(self) -> None:
        """Delete the run's undo mark, which is no longer needed. A mark that remains after a crash is harmless; the
        thread's next run replaces it.

        The checkpoints of a temporary thread stay, like the run's row, until the storage is cleaned up: after a crash,
        late waiters get their response from them.
        """
        run = self._lease.run
        try:
            if self._runtime.secrets is not None and secret_names(run.spec):
                await self._runtime.secrets.discard(run.actor, run.run_id)
            await self._runtime.checkpoints.forget_mark(run.thread_id, run.run_id)
        except Exception:
            _log.warning("could not delete the undo mark of run %s", run.run_id, exc_info=True)
