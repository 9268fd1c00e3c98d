"""Execution of one attempt of a run: start, stream, then settle or hand back. Runs on the server's loop; agent code
runs on an agent loop.

The methods are in the order of the path of one run. A stop has one reason, which is stored in the handle. Whether the
attempt may write is decided in `lease_guard`; the run's end is written in `settlement`, and a run that another attempt
is to continue is released in `hand_back`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Final

from runstead.runtime.actor_context import acting
from runstead.runtime.converters import last_human_text, messages_in
from runstead.runtime.runs.agent_loop import AgentLoop, AgentTask
from runstead.runtime.runs.callbacks.builder import RunCallbacks
from runstead.runtime.runs.callbacks.step_gate import StepGate
from runstead.runtime.runs.exceptions import LeaseLost, RunError
from runstead.runtime.runs.message_inbox import bound_inbox
from runstead.runtime.runs.observer import RunLifecycleEventType
from runstead.runtime.runs.runtime import RunsRuntime, SaveWork
from runstead.runtime.runs.secrets import bound_secrets, secret_names
from runstead.runtime.runs.types import Lease, StopReason
from runstead.runtime.serialization import encode
from runstead.runtime.user_code.cross_loop_queue import CrossLoopQueue
from runstead.runtime.user_code.scope import UserWork
from runstead.runtime.user_code.thread_loop import LoopLost, UserCodeExit

from ..lifecycle_events import RunEventEmitter
from ..streaming.publisher import RunPublisher
from .abandoned import AbandonedAttempt
from .attempt import AgentAttempt, AttemptEnd
from .budget_answers import take_budget_answers
from .budget_gate import budget_gate
from .chunks import EncodedEvent
from .earlier_attempts import is_input_unrecorded, is_resuming
from .event_writer import EventWriter
from .exhaustion import lacks_key, out_of_memory
from .fenced_saver import FencedSaver, fenced_store
from .hand_back import HandBack, is_cut_off
from .latest_states import LatestStates
from .lease_guard import LeaseGuard, WriteGate
from .partial_answers import PartialAnswers
from .planner import ExecutionPlan, ExecutionPlanner
from .questions import EarlierQuestion
from .registry import RunHandle, stop_revoked
from .settlement import Settlement
from .steering_inbox import steering_inbox
from .thread_wall import ThreadWall

_log = logging.getLogger(__name__)

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
        states: LatestStates,
        on_missing_key: Callable[[BaseException], None],
    ) -> None:
        """Create an execution.

        ``on_missing_key`` is called before a run is handed back because it needs a key that this process lacks.
        """
        self._handle, self._runtime, self._planner, self._asides = handle, runtime, planner, asides
        self._states = states
        run = handle.lease.run
        self._callbacks = RunCallbacks.build(
            run.run_id,
            run.thread_id,
            runtime.clock.now,
            runtime.error_redactor,
            attempt=handle.lease.attempt,
            before=run.completion,
            calls=runtime.telemetry.call_observer(),
        )
        self._publisher = RunPublisher(runtime.bridge, run.run_id, handle.lease.attempt)
        self._events = RunEventEmitter(run, runtime.observer, runtime.clock, runtime.telemetry)
        self._trace = EventWriter(self._callbacks, runtime, handle.lease)
        self._budgets = budget_gate(
            runtime, handle, self._trace, self._publisher, self._callbacks.events.note, self._events
        )
        self._inbox = steering_inbox(runtime, handle, self._publisher, self._callbacks.events.note)
        self._guard = LeaseGuard(handle, runtime)
        self._gate = WriteGate(self._guard, handle.lease)
        self._save: SaveWork | None = None
        self._hand_back = HandBack(handle, runtime, self._guard, self._trace, on_missing_key)
        self._question = EarlierQuestion(runtime)
        self._settlement = Settlement(
            handle, runtime, self._guard, self._callbacks, self._publisher, self._events, self._question, states
        )

    async def run(self) -> None:
        """Execute the run, then settle it or hand it back. Never raises, except for a cancellation."""
        run = self._lease.run
        # The thread may belong to another user who shares it: access was checked when the run was created.
        with acting(run.actor.with_access_to(run.thread_id)):
            try:
                async with self._trace.writing():
                    end = await self._execute()
                    if self._budgets is not None:
                        await self._budgets.close()
                    if self._inbox is not None:
                        await self._inbox.close(end)
                await self._finish(end)
            except LeaseLost:
                _log.warning("run %s: attempt %s lost its lease", self._lease.run_id, self._lease.attempt)
            except Exception as error:
                if not lacks_key(error):
                    raise
                await self._hand_back.after_missing_key(error)
            finally:
                self._guard.close()

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
            async with self._runtime.surroundings(self._lease.run) as self._save:
                end = await self._stream(plan)
                if self._save is not None:
                    await self._guard.require()
                    await self._save()
                return end
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
        await self._states.require(self._lease, base)
        if (reason := self._lease.run.stop_requested) is not None:
            # The stop was requested before this worker held the run, so no notification will arrive.
            self._handle.stop(reason)
        await self._publisher.publish(
            "metadata", encode({"run_id": run.run_id, "attempt": self._lease.attempt, "thread_id": run.thread_id})
        )
        await self._question.answered(self._lease)
        plan = self._planner.plan(self._lease, resuming=await is_resuming(self._lease, self._runtime))
        await self._events.emit(RunLifecycleEventType.RUN_STARTED, attempt=self._lease.attempt)
        if await is_input_unrecorded(self._lease, self._runtime):
            self._callbacks.saw_input(messages_in(run.spec.input))
        if (said := last_human_text(run.spec.input)) is not None:
            await self._events.emit(RunLifecycleEventType.HUMAN_MESSAGE, content=said)
        return await take_budget_answers(self._runtime, self._lease, plan)

    async def _stream(self, plan: ExecutionPlan) -> AttemptEnd:
        """Run the agent on its loop, and publish its events until it ends or is stopped. Raises LoopLost."""
        queue: CrossLoopQueue[EncodedEvent] = CrossLoopQueue()
        work = UserWork("run", plan.graph_id, self._lease.run_id, self._lease.thread_id)
        async with self._runtime.agent_loops.lease(work) as loop, self._timeout():
            attempt = self._attempt(plan, loop, queue)
            with bound_secrets(secret_names(self._lease.run.spec), await self._secrets()), bound_inbox(self._inbox):
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

    async def _secrets(self) -> Mapping[str, str] | None:
        store, run = self._runtime.secrets, self._lease.run
        return await store.get(run.actor, run.run_id) if store is not None and secret_names(run.spec) else None

    def _attempt(self, plan: ExecutionPlan, loop: AgentLoop, queue: CrossLoopQueue[EncodedEvent]) -> AgentAttempt:
        attempt = AgentAttempt(
            loop=loop,
            factory=self._runtime.agents.resolve(plan.graph_id),
            plan=plan,
            checkpointer=self._saver(self._gate),
            store=fenced_store(self._runtime.store, self._gate.check, self._lease.holder),
            callbacks=[*self._callbacks.handlers(), *(self._budgets.callbacks() if self._budgets else ())],
            queue=queue,
            asides=self._asides,
            error_texts=self._runtime.error_redactor,
        )
        if self._runtime.is_shared:
            home = asyncio.get_running_loop()

            def expired() -> None:
                # Before the step is refused: the attempt must know that it is stopped.
                attempt.stop_reason = attempt.stop_reason or StopReason.LEASE_EXPIRED
                with contextlib.suppress(RuntimeError):
                    home.call_soon_threadsafe(self._handle.stop, StopReason.LEASE_EXPIRED)

            attempt.callbacks.append(StepGate(self._guard.is_valid, expired))
        return attempt

    def _saver(self, gate: WriteGate) -> FencedSaver:
        return FencedSaver(
            self._runtime.checkpoints.saver,
            asyncio.get_running_loop(),
            gate.require,
            {"run_id": self._lease.run_id, "run_attempt": self._lease.attempt},
            gate.check,
            self._lease.holder,
            frozenset(self._lease.run.spec.context_only),
            sleep=self._runtime.clock.sleep,
            save=self._save,
            messages=self._inbox,
            wall=ThreadWall(self._lease.run, self._runtime.query_store),
        )

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
        while not await task.wait(None if reason is None else grace):
            if self._handle.stop_reason is StopReason.LEASE_EXPIRED and not self._guard.check():
                # The database is unavailable, and finished steps wait for it to store their results.
                continue
            _log.error(
                "run %s does not react to its stop after %s s; it is %s, and its code can no longer write",
                self._lease.run_id,
                grace,
                "settled" if reason is not None and reason.is_terminal else "handed back",
            )
            return None
        try:
            return task.result()
        except LoopLost:
            if self._handle.stop_reason is None:
                raise
            # The code is blocked; treat it as stopped, as requested.
            return None

    async def _abandoned(self, attempt: AgentAttempt, plan: ExecutionPlan) -> AttemptEnd:
        """Refuse further writes of the attempt's code, and read the state it left if this stop ends the run."""
        self._gate.close()
        reason, agent = self._handle.stop_reason, attempt.agent
        if agent is None or reason is None or reason.rolls_back or not reason.is_terminal:
            return AttemptEnd(stopped=True)
        gate = WriteGate(self._guard, self._lease)
        left = AbandonedAttempt(agent, plan, attempt.checkpointer, self._saver(gate))
        work = UserWork("run", plan.graph_id, self._lease.run_id, self._lease.thread_id)
        async with self._runtime.agent_loops.lease(work, apart=True) as loop:
            task = loop.submit(left.read)
            if await task.wait(_READ_WITHIN):
                with contextlib.suppress(LoopLost, UserCodeExit):
                    return task.result()
        gate.close()
        return AttemptEnd(stopped=True)

    async def _finish(self, end: AttemptEnd) -> None:
        """Settle the run, or hand it back if another attempt is to continue it. Raises LeaseLost."""
        # From here on, agent code that still runs can no longer write.
        self._guard.close()
        stop = self._handle.stop_reason
        if end.error is not None and not lacks_key(end.error) and not isinstance(end.error, RunError | LoopLost):
            # The full error is logged only here: clients may see a redacted text.
            _log.warning("run %s failed", self._lease.run_id, exc_info=end.error)
        self._callbacks.events.close(end.error)
        await self._trace.finish(wait_for_room=stop is not StopReason.SHUTDOWN)
        if stop is StopReason.LEASE_LOST or isinstance(end.error, LeaseLost):
            raise LeaseLost(self._lease.run_id, self._lease.attempt)
        if isinstance(end.error, LoopLost):
            await self._hand_back.after_lost_loop(end.error)
        elif stop is StopReason.SHUTDOWN and (end.stopped or is_cut_off(end.error)):
            await self._hand_back.at_shutdown()
        elif stop is StopReason.LEASE_EXPIRED and end.stopped:
            await self._hand_back.after_expired_lease()
        elif out_of_memory(end.error) and self._hand_back.has_attempts_left:
            await self._hand_back.as_lost()
        elif is_cut_off(end.error) and not (stop is not None and stop.rolls_back):
            # Not a failure of the run.
            await self._hand_back.after_failure(end.error)
        else:
            await self._settlement.settle(end, stop)
