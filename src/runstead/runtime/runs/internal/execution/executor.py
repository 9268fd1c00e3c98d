"""Execution of one attempt of a run: start, prepare, stream, settle. Runs on the server's loop; agent code runs on an
agent loop.

Law 4: settle first, publish second. The terminal status is written first, fenced by the lease; then the stream ends,
then the observers are notified. A stop has one reason, which is stored in the handle.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from runstead.runtime.actor_context import acting
from runstead.runtime.backoff import Backoff, exponential, retry
from runstead.runtime.converters import last_human_text, messages_in
from runstead.runtime.field_encryption import EncryptionFailed
from runstead.runtime.runs.agent_loop import AgentLoop, AgentTask
from runstead.runtime.runs.callbacks.builder import RunCallbacks
from runstead.runtime.runs.exceptions import LeaseLost, RollbackRequested, RunError
from runstead.runtime.runs.observer import RunLifecycleEventType
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.secrets import SECRETS_KEY, bound_secrets
from runstead.runtime.runs.store import Settled
from runstead.runtime.runs.types import Lease, Outcome, RunStatus, StopReason
from runstead.runtime.serialization import encode
from runstead.runtime.storage_fault import StorageFault
from runstead.runtime.user_code.cross_loop_queue import CrossLoopQueue
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, UserCodeExit

from .. import lifecycle
from ..lifecycle_events import RunEventEmitter
from ..streaming.publisher import RunPublisher, terminal_kind
from .abandoned import AbandonedAttempt, WriteGate
from .attempt import AgentAttempt, AttemptEnd
from .chunks import EncodedEvent
from .event_writer import EventWriter
from .exhaustion import is_exhaustion, lacks_key
from .fenced_saver import FencedSaver, fenced_store
from .outcome import resolve_outcome, rollback_outcome, unencryptable_outcome
from .partial_answers import PartialAnswers
from .planner import ExecutionPlan, ExecutionPlanner
from .registry import RunHandle, stop_revoked
from .required_observers import confirm_end
from .snapshot import StateSnapshot, read_stored

T = TypeVar("T")

_log = logging.getLogger(__name__)

_PAUSES: Final = (0.05, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds between retries while the database is unavailable. The last value repeats until the lease is lost."""
_LONGEST_REST: Final = 30.0
"""Maximum seconds before a run is handed back that failed for lack of file descriptors or disk space."""
_ATTEMPTS_WITHOUT_MEANS: Final = 20
_READ_WITHIN: Final = 10.0
"""Seconds that a graph has to read the state of its abandoned attempt."""


class RunExecution:
    """Execution of the run that a handle holds. Create one per attempt, and use it once."""

    def __init__(
        self,
        handle: RunHandle,
        runtime: RunsRuntime,
        planner: ExecutionPlanner,
        asides: PartialAnswers,
        on_missing_key: Callable[[BaseException], None],
    ) -> None:
        """Create an execution.

        ``on_missing_key`` is called before a run is handed back because it needs a key that this process lacks.
        """
        self._handle, self._runtime, self._planner, self._asides = handle, runtime, planner, asides
        self._on_missing_key = on_missing_key
        run = handle.lease.run
        self._callbacks = RunCallbacks.build(
            run.run_id,
            run.thread_id,
            runtime.clock.now,
            runtime.error_redactor,
            attempt=handle.lease.attempt,
            before=run.completion,
        )
        self._publisher = RunPublisher(runtime.bridge, run.run_id, handle.lease.attempt)
        self._events = RunEventEmitter(run, runtime.observer, runtime.clock)
        self._trace = EventWriter(self._callbacks, runtime, handle.lease)
        self._writable = True
        self._gate = WriteGate(self._lease, self._check, self._guard)

    async def run(self) -> None:
        """Execute the run, then settle it or hand it back. Never raises, except for a cancellation."""
        run = self._lease.run
        # The thread may belong to another user who shares it: access was checked when the run was created.
        with acting(run.actor.with_access_to(run.thread_id)):
            try:
                async with self._trace.writing():
                    end = await self._execute()
                await self._finish(end)
            except LeaseLost:
                _log.warning("run %s: attempt %s lost its lease", self._lease.run_id, self._lease.attempt)
            except Exception as error:
                if not lacks_key(error):
                    raise
                self._on_missing_key(error)
                await self._hand_back()
            finally:
                self._writable = False

    @property
    def _lease(self) -> Lease:
        return self._handle.lease

    async def _execute(self) -> AttemptEnd:
        """Execute the run without settling it. An attempt that was stopped before it began returns an empty end."""
        try:
            if (reason := self._lease.run.stop_requested) is not None:
                self._handle.stop(reason)
            elif await self._runtime.access.is_revoked(self._lease.run, begins=True):
                await stop_revoked(self._handle, self._runtime.lease_store)
            plan = await self._start()
            if self._handle.stop_reason is not None:
                return AttemptEnd(stopped=True)
            async with self._runtime.surroundings(self._lease.run):
                return await self._stream(plan)
        except LeaseLost:
            raise
        except Exception as error:
            # All failures are logged in one place, `_finish`.
            return AttemptEnd(error=error)

    async def _start(self) -> ExecutionPlan:
        run = self._lease.run
        await self._publisher.open()
        base = await self._runtime.checkpoints.mark(run.thread_id, run.run_id)
        self._handle.lease = await self._runtime.lease_store.begin(self._lease, base)
        if (reason := self._lease.run.stop_requested) is not None:
            # The stop was requested before this worker held the run, so no notification will arrive.
            self._handle.stop(reason)
        await self._publisher.publish(
            "metadata", encode({"run_id": run.run_id, "attempt": self._lease.attempt, "thread_id": run.thread_id})
        )
        plan = self._planner.plan(self._lease, resuming=await self._is_resuming())
        await self._events.emit(RunLifecycleEventType.RUN_STARTED, attempt=self._lease.attempt)
        if await self._is_input_unrecorded():
            self._callbacks.saw_input(messages_in(run.spec.input))
        if (said := last_human_text(run.spec.input)) is not None:
            await self._events.emit(RunLifecycleEventType.HUMAN_MESSAGE, content=said)
        return plan

    async def _is_input_unrecorded(self) -> bool:
        """Return whether no earlier attempt has stored the run's human messages; without an answer, assume it has."""
        if self._lease.attempt == 1:
            return True
        try:
            return not await self._runtime.event_store.list_events(
                self._lease.thread_id, run_id=self._lease.run_id, event_types=("human_message",), limit=1
            )
        except Exception:
            _log.warning("the events of run %s could not be read", self._lease.run_id, exc_info=True)
            return False

    async def _is_resuming(self) -> bool:
        """Return whether an earlier attempt of this run wrote the thread's latest checkpoint."""
        if self._lease.attempt == 1:
            return False
        config = {"configurable": {"thread_id": self._lease.thread_id, "checkpoint_ns": ""}}
        latest = await self._runtime.checkpoints.saver.aget_tuple(config)
        return latest is not None and latest.metadata.get("run_id") == self._lease.run_id

    async def _stream(self, plan: ExecutionPlan) -> AttemptEnd:
        """Run the agent on its loop, and publish its events until it ends or is stopped. Raises LoopLost."""
        queue: CrossLoopQueue[EncodedEvent] = CrossLoopQueue()
        work = UserWork("run", plan.graph_id, self._lease.run_id, self._lease.thread_id)
        async with self._runtime.agent_loops.lease(work) as loop, self._timeout():
            attempt = self._attempt(plan, loop, queue)
            with bound_secrets(self._secret_names, await self._secrets()):
                task = loop.submit(attempt.run)
            # The attempt finishes the queue itself, unless its loop is abandoned.
            task.when_ended(queue.finish)
            self._handle.on_stop(queue.wake)
            try:
                await self._publish_all(queue)
            except Exception:
                # The thread's next run must not begin while code of this run is still executing.
                task.call(lambda: attempt.stop(StopReason.LEASE_LOST))
                queue.close()
                await task.wait(self._runtime.limits.stop_grace)
                raise
            if (reason := self._handle.stop_reason) is not None:
                self._callbacks.events.stopping(reason)
                task.call(lambda: attempt.stop(reason))
            end = await self._ended(task)
            if end is None:
                end = await self._abandoned(attempt, plan)
            if queue.finished:
                # Publish the remaining events too: the agent may have ended by itself before the stop arrived.
                for event, data in await queue.read():
                    await self._publisher.publish(event, data)
            queue.close()
            return end

    @property
    def _secret_names(self) -> tuple[str, ...]:
        return tuple(self._lease.run.spec.config.get("configurable", {}).get(SECRETS_KEY, ()))

    async def _secrets(self) -> Mapping[str, str] | None:
        store, run = self._runtime.secrets, self._lease.run
        return await store.get(run.actor, run.run_id) if store is not None and self._secret_names else None

    def _attempt(self, plan: ExecutionPlan, loop: AgentLoop, queue: CrossLoopQueue[EncodedEvent]) -> AgentAttempt:
        return AgentAttempt(
            loop=loop,
            factory=self._runtime.agents.resolve(plan.graph_id),
            plan=plan,
            checkpointer=self._saver(self._gate),
            store=fenced_store(self._runtime.store, self._gate.check, self._lease.holder),
            callbacks=list(self._callbacks.handlers()),
            queue=queue,
            asides=self._asides,
            error_texts=self._runtime.error_redactor,
        )

    def _saver(self, gate: WriteGate) -> FencedSaver:
        return FencedSaver(
            self._runtime.checkpoints.saver,
            asyncio.get_running_loop(),
            gate.guard,
            {"run_id": self._lease.run_id, "run_attempt": self._lease.attempt},
            gate.check,
            self._lease.holder,
            frozenset(self._lease.run.spec.context_only),
            sleep=self._runtime.clock.sleep,
        )

    async def _abandoned(self, attempt: AgentAttempt, plan: ExecutionPlan) -> AttemptEnd:
        """Refuse further writes of the attempt's code, and read the state it left if this stop ends the run."""
        self._gate.close()
        reason, agent = self._handle.stop_reason, attempt.agent
        if agent is None or reason is None or reason.rolls_back or not reason.is_terminal:
            return AttemptEnd(stopped=True)
        gate = WriteGate(self._lease, self._check, self._guard)
        left = AbandonedAttempt(agent, plan, attempt.checkpointer, self._saver(gate))
        work = UserWork("run", plan.graph_id, self._lease.run_id, self._lease.thread_id)
        async with self._runtime.agent_loops.lease(work, apart=True) as loop:
            task = loop.submit(left.read)
            if await task.wait(_READ_WITHIN):
                with contextlib.suppress(LoopLost, UserCodeExit):
                    return task.result()
        gate.close()
        return AttemptEnd(stopped=True)

    def _check(self) -> bool:
        """Check that the attempt may still write (law 6: nothing is written after the lease is lost or the run is
        settled).

        Return False if the lease has expired by the clock, so that it must be renewed. Callable from any thread,
        without side effects. Raises LeaseLost.
        """
        if self._handle.stop_reason is StopReason.LEASE_LOST or not self._writable:
            raise LeaseLost(self._lease.run_id, self._lease.attempt)
        return self._runtime.clock.now() < self._lease.deadline

    async def _guard(self) -> None:
        """Check as `_check` does, and renew an expired lease."""
        lease = self._lease
        for pause in Backoff(_PAUSES):
            # Checked again after each wait: the run may have been settled or rolled back in the meantime.
            if self._check():
                return
            # The process was suspended past the end of its lease. It may continue unless another worker has claimed the
            # run; renewing shows that.
            try:
                self._handle.lease = await self._runtime.lease_store.renew(lease, self._runtime.limits.lease_term)
            except LeaseLost:
                raise
            except Exception:
                # The database is unavailable. The agent waits with its write; the run does not fail for that.
                _log.warning("could not renew the lease of run %s", lease.run_id, exc_info=True)
                await self._runtime.clock.sleep(pause)

    async def _publish_all(self, queue: CrossLoopQueue[EncodedEvent]) -> None:
        """Publish queued events until the agent has ended or is to stop."""
        while True:
            finished = queue.finished
            for event, data in await queue.read():
                await self._publisher.publish(event, data)
            if self._publisher.superseded:
                self._handle.stop(StopReason.LEASE_LOST)
            if finished or self._handle.stop_reason is not None:
                return

    async def _ended(self, task: AgentTask[AttemptEnd]) -> AttemptEnd | None:
        """Wait for the end of the attempt and return it; None if its code does not react to a stop."""
        reason, limits = self._handle.stop_reason, self._runtime.limits
        grace = limits.hand_back_grace if reason is StopReason.SHUTDOWN else limits.stop_grace
        if not await task.wait(None if reason is None else grace):
            _log.error(
                "run %s does not react to its stop after %s s; it is %s, and its code can no longer write",
                self._lease.run_id,
                grace,
                "handed back" if reason is StopReason.SHUTDOWN else "settled",
            )
            return None
        try:
            return task.result()
        except LoopLost:
            if self._handle.stop_reason is None:
                raise
            # The code is blocked; treat it as stopped, as requested.
            return None

    @asynccontextmanager
    async def _timeout(self) -> AsyncIterator[None]:
        seconds = self._lease.run.spec.timeout_seconds or self._runtime.limits.run_timeout
        if seconds is None:
            yield
            return
        started = self._lease.run.started_at or self._runtime.clock.now()
        left = seconds - (self._runtime.clock.now() - started).total_seconds()

        async def stop_later() -> None:
            await self._runtime.clock.sleep(left)
            self._handle.stop(StopReason.TIMED_OUT)

        timer = asyncio.ensure_future(stop_later())
        try:
            yield
        finally:
            timer.cancel()

    async def _finish(self, end: AttemptEnd) -> None:
        # From here on, agent code that still runs can no longer write.
        self._writable = False
        stop = self._handle.stop_reason
        is_keyless = lacks_key(end.error)
        if end.error is not None and not is_keyless and not isinstance(end.error, RunError | LoopLost):
            # The full error is logged only here: clients may see a redacted text.
            _log.warning("run %s failed", self._lease.run_id, exc_info=end.error)
        self._callbacks.events.close(end.error)
        await self._trace.finish(wait_for_room=stop is not StopReason.SHUTDOWN)
        if stop is StopReason.LEASE_LOST or isinstance(end.error, LeaseLost):
            raise LeaseLost(self._lease.run_id, self._lease.attempt)
        if isinstance(end.error, LoopLost):
            await self._trace.finish_usage()
            await self._give_up(end.error)
            return
        is_exhausted = is_exhaustion(end.error)
        was_cut_off = is_exhausted or is_keyless or (isinstance(end.error, StorageFault) and end.error.is_transient)
        if stop is StopReason.SHUTDOWN and (end.stopped or was_cut_off):
            await self._trace.finish_usage()
            # Tried once: a process that shuts down does not wait for an unavailable database. The lease then expires.
            await self._runtime.lease_store.release(self._lease)
            return
        if was_cut_off and not (stop is not None and stop.rolls_back):
            # Not a failure of the run: another attempt continues from the stored state, and finds the requested stop.
            if is_exhausted and not await self._back_off():
                return
            if is_keyless and end.error is not None:
                self._on_missing_key(end.error)
            await self._hand_back()
            return
        if stop is not None and stop.rolls_back:
            outcome = await self._with_retries("undone", self._roll_back)
        else:
            left = end.snapshot
            if left is None:
                left = await self._with_retries("read", self._latest)
            completion, usage = self._callbacks.completion_data(), self._callbacks.usage()
            title, texts = self._callbacks.title, self._runtime.error_redactor
            outcome = resolve_outcome(end, stop, left, completion, usage, title, texts)
        await self._settle(outcome, stop)

    async def _roll_back(self) -> Outcome:
        await self._runtime.checkpoints.undo(self._lease.thread_id, self._lease.run_id)
        return rollback_outcome(await self._latest(), self._callbacks.completion_data(), self._callbacks.usage())

    async def _latest(self) -> StateSnapshot:
        try:
            return await read_stored(self._runtime.checkpoints.saver, self._lease.thread_id)
        except StorageFault as fault:
            if fault.kind != "damaged":
                raise
            # Another read gives the same error: the run ends, and its thread has no readable state.
            _log.warning("run %s ends without a state: %s", self._lease.run_id, fault)
            return StateSnapshot()

    async def _settle(self, outcome: Outcome, stop: StopReason | None) -> None:
        lifecycle.check(self._lease.run_id, self._lease.run.status, outcome.status)
        # Sync the state first: a run must not be reported as ended if a power failure could lose its state.
        await self._with_retries("synced", self._runtime.checkpoints.sync)
        required = self._runtime.required_observers
        if required and not outcome.rolled_back:
            event = self._events.intended_end(outcome, stop)
            outcome = await confirm_end(required, event, outcome, self._runtime.clock)
        settled, outcome = await self._settled(outcome)
        if outcome.status is RunStatus.SUCCESS and outcome.thread.status == "interrupted":
            await self._publisher.awaiting_input()
        await self._publisher.end(*terminal_kind(outcome))
        await self._events.ended(settled.record, settled.thread_status, title=outcome.title, stop=stop)
        await self._clean_up()

    async def _settled(self, outcome: Outcome) -> tuple[Settled, Outcome]:
        """Settle the run, and return the result with the outcome that was written: a rollback may have been requested
        in the meantime."""

        async def settle() -> tuple[Settled, Outcome]:
            try:
                return await self._runtime.lease_store.settle(self._lease, outcome), outcome
            except RollbackRequested:
                undone = await self._roll_back()
                await self._runtime.checkpoints.sync()
                return await self._runtime.lease_store.settle(self._lease, undone), undone
            except EncryptionFailed as error:
                if isinstance(error.__cause__, LoopLost):
                    # Not a failure of the handlers: settling is tried again, on another loop or in another process.
                    raise
                failed = unencryptable_outcome(outcome, error)
                return await self._runtime.lease_store.settle(self._lease, failed), failed

        return await self._with_retries("settled", settle)

    async def _give_up(self, lost: LoopLost) -> None:
        """Hand the run back after its loop was abandoned.

        If the run's own code blocked the loop, let the lease expire instead, as if the worker had died. That counts as
        a lost attempt, so that the run finally becomes a dead letter.
        """
        culprit = lost.culprit
        if culprit is None or culprit.work.run_id != self._lease.run_id:
            await self._hand_back()

    async def _back_off(self) -> bool:
        """Wait before another attempt, longer each time: the machine may have free resources by then.

        Return False after too many attempts: the lease then expires, and the run finally becomes a dead letter, which
        an operator can retry.
        """
        if self._lease.attempt > _ATTEMPTS_WITHOUT_MEANS:
            return False
        stopped = asyncio.Event()
        self._handle.on_stop(stopped.set)
        await self._runtime.clock.wait(stopped, exponential(2.0, self._lease.attempt, _LONGEST_REST))
        return True

    async def _hand_back(self) -> None:
        await self._trace.finish_usage()
        await self._with_retries("handed back", lambda: self._runtime.lease_store.release(self._lease))

    async def _with_retries(self, what: str, work: Callable[[], Awaitable[T]]) -> T:
        """Retry ``work`` until the database is available again: as long as the worker holds the lease, nothing of the
        run is lost.

        Raises LeaseLost when the database reports that another worker has taken the run over. The lease keeper's
        opinion does not count: the lease also looks lost after a committed write whose reply was lost. Raises the error
        of a database that needs a key which this process lacks: retrying cannot help.
        """

        def failed(error: Exception) -> None:
            if isinstance(error, LeaseLost) or lacks_key(error):
                raise error
            _log.warning("run %s could not be %s; retrying", self._lease.run_id, what, exc_info=True)

        return await retry(work, _PAUSES, self._runtime.clock.sleep, failed)

    async def _clean_up(self) -> None:
        """Delete the run's undo mark, which is no longer needed. A mark that remains after a crash is harmless; the
        thread's next run replaces it.

        The checkpoints of a temporary thread stay, like the run's row, until the storage is cleaned up: after a crash,
        late waiters get their response from them.
        """
        run = self._lease.run
        try:
            if self._runtime.secrets is not None and self._secret_names:
                await self._runtime.secrets.discard(run.actor, run.run_id)
            await self._runtime.checkpoints.forget_mark(run.thread_id, run.run_id)
        except Exception:
            _log.warning("could not delete the undo mark of run %s", run.run_id, exc_info=True)
