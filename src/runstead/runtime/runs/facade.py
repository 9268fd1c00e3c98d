"""Public API for runs: create, stream, wait, cancel, query, delete; start and stop the executor.

Each method acts for the bound actor (ActorRequired without one); another user's run looks like a missing one.
Decisions, execution, streaming and waiting are implemented in `internal`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from typing import Self

from ..actor_context import acting, require_actor_context, thread_access
from ..periodic import keep_running
from .exceptions import RunNotFound, RunNotRetriable
from .graph_access import RunValues
from .internal.admission import decide
from .internal.background_tasks import BackgroundTasks
from .internal.execution.planner import ExecutionPlanner
from .internal.execution.questions import mark_answered
from .internal.execution.registry import RunRegistry
from .internal.execution.supervisor import RunSupervisor
from .internal.execution.waiting_messages import WaitingMessages
from .internal.lifecycle_events import RunEventEmitter
from .internal.recovery.ambiguous_commits import AmbiguousCommitResolver
from .internal.recovery.end_notifications import EndNotifier
from .internal.recovery.expired_leases import ExpiredLeaseRecovery
from .internal.recovery.orphaned_streams import OrphanedStreamReconciler
from .internal.streaming.archiver import FrameArchiver
from .internal.streaming.event_filter import EventFilter
from .internal.streaming.publisher import publish_terminal_for
from .internal.streaming.stream_service import RunStream, RunStreamService
from .internal.streaming.wait import RunWaitService
from .observer import CompositeObserver
from .runtime import RunsRuntime
from .scheduling import RunScheduler
from .store import CreatedRun, StopRequest
from .types import RunFilter, RunId, RunRecord, RunResult, RunSpec, StopAction, StopReason, ThreadId, ThreadStatus

__all__ = ["RunStream", "RunsFacade"]

_ARCHIVING_GRACE = 5.0
"""Seconds that a stopping process spends on archiving the streams of its last runs."""


class RunsFacade:
    """Facade that creates, streams, waits for, cancels, finds and deletes runs."""

    def __init__(
        self,
        runtime: RunsRuntime,
        registry: RunRegistry,
        supervisor: RunSupervisor,
        recovery: ExpiredLeaseRecovery,
        untold: OrphanedStreamReconciler,
        streams: RunStreamService,
        waits: RunWaitService,
        archiver: FrameArchiver | None = None,
    ) -> None:
        self._runtime = runtime
        self._registry = registry
        self._supervisor = supervisor
        self._recovery = recovery
        self._untold = untold
        self._streams = streams
        self._waits = waits
        self._archiver = archiver
        self._background = BackgroundTasks()
        self._ambiguous_commits = AmbiguousCommitResolver(runtime, registry, self._background, self._publish_resolved)
        self._serving: list[asyncio.Task[None]] = []

    @classmethod
    def assemble(cls, runtime: RunsRuntime) -> Self:
        """Build the facade from the injected ports."""
        archiver = _archiver(runtime)
        if archiver is not None:
            runtime = replace(runtime, observer=CompositeObserver([archiver, runtime.observer]))
        registry, planner = RunRegistry(), ExecutionPlanner()
        values = RunValues(runtime, planner).read
        streams = RunStreamService(runtime, values)
        return cls(
            runtime,
            registry,
            RunSupervisor(runtime, registry, planner),
            ExpiredLeaseRecovery(runtime, registry),
            OrphanedStreamReconciler(runtime, streams),
            streams,
            RunWaitService(runtime, streams, values),
            archiver,
        )

    async def start(self, *, execute: bool = True) -> None:
        """Begin to execute pending runs, including those from before the start. With ``execute=False``, only accept and
        stream."""
        if not execute:
            return
        self._supervisor.start()
        loops: dict[str, Callable[[], Awaitable[object]]] = {
            "dispatcher": lambda: self._runtime.dispatcher.serve(self._supervisor),
            "recovery of runs": self._recovery.watch,
            "publishing missing terminal events": self._untold.watch,
        }
        clock = self._runtime.clock
        self._serving = [
            asyncio.create_task(keep_running(work, what, clock), name=what) for what, work in loops.items()
        ]
        if (messages := self._runtime.steering) is not None:
            watch = WaitingMessages(self._runtime, messages).watch
            self._serving.append(asyncio.create_task(keep_running(watch, "waiting messages", clock), name="messages"))
        if (outbox := self._runtime.end_outbox) is not None:
            notifier = EndNotifier(self._runtime, outbox)
            self._serving.append(asyncio.create_task(notifier.watch(), name="end notifications"))
        if self._archiver is not None:
            self._serving.append(asyncio.create_task(self._archiver.run(), name="stream archiver"))

    def stop_claiming(self) -> None:
        """Begin no more runs in this process. Call `close` afterwards."""
        self._supervisor.stop_claiming()

    async def close(self, grace: float = 10.0) -> None:
        """Stop claiming, let runs finish for ``grace`` seconds, and hand the rest back, so that another worker (or the
        next start) resumes them."""
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._serving = []
        await self._supervisor.drain(grace)
        if self._archiver is not None:
            await self._archiver.drain(_ARCHIVING_GRACE)
        await self._background.join()
        await self._background.cancel_detached()

    @property
    def active_runs(self) -> int:
        """Number of runs that this process holds."""
        return len(self._registry)

    async def create_background(self, spec: RunSpec) -> RunRecord:
        """Accept a run and return at once. From then on the run survives any crash.

        With ``spec.idempotency``, a repeated request returns the run that the first one created, instead of a second
        run. Raises ThreadNotFound, ThreadBusy (strategy ``reject``), RunConflict, IdempotencyMismatch.
        """
        (record,) = await self.create_batch([spec])
        return record

    async def create_batch(self, specs: Sequence[RunSpec]) -> Sequence[RunRecord]:
        """Accept several runs: all, or none. Raises the same errors as `create_background`."""
        return await self._background.run_shielded(self._create(specs))

    async def create_and_stream(
        self, spec: RunSpec, *, namespaces: Collection[str] | None = None
    ) -> tuple[RunRecord, RunStream]:
        """Accept a run and read its stream from the first event.

        Closing the stream before the end stops the run if ``spec.on_disconnect`` is ``cancel``. ``namespaces`` as in
        `join_stream`. Raises the same errors as `create_background`.
        """
        record = await self.create_background(spec)
        if record.message_id is not None:
            # The stream of another request's run, from here on; leaving it must not stop that run.
            return record, await self._open(record, "$", EventFilter(namespaces=namespaces), cancel_on_leave=False)
        leave = spec.on_disconnect == "cancel"
        # From the first event on, with a gap event if that one is no longer kept.
        choice = EventFilter(namespaces=namespaces)
        return record, await self._open(record, "-1", choice, cancel_on_leave=leave, is_new=True)

    async def question_answered(self, thread_id: ThreadId) -> None:
        """Note that a thread no longer waits for a human, since its state was changed."""
        await mark_answered(self._runtime, thread_id)

    async def messages_changed(self, run_id: RunId) -> None:
        """Let the readers of a run know that a message for it was sent or withdrawn, if a worker executes it."""
        await self._runtime.dispatcher.request_stop(run_id)

    async def create_and_wait(self, spec: RunSpec) -> RunResult:
        """Accept a run and wait for its end. Cancelling the call stops the run if ``spec.on_disconnect`` is
        ``cancel``."""
        _, wait = await self.create_to_wait(spec)
        return await wait()

    async def create_to_wait(self, spec: RunSpec) -> tuple[RunRecord, Callable[[], Awaitable[RunResult]]]:
        """Accept a run; return it, and a function that waits for its end as `create_and_wait` does.

        For callers that need the record before the end. The function keeps no input in memory.
        """
        record = await self.create_background(spec)
        if record.message_id is not None:
            return record, partial(self._wait_for_message, _without_input(record), record.message_id)
        leave = spec.on_disconnect == "cancel"
        return record, partial(self._wait, _without_input(record), cancel_on_leave=leave, is_new=True)

    async def join_stream(
        self,
        run_id: RunId,
        *,
        thread_id: ThreadId | None = None,
        last_event_id: str | None = None,
        modes: Collection[str] | None = None,
        namespaces: Collection[str] | None = None,
        cancel_on_disconnect: bool = False,
    ) -> RunStream:
        """Read the stream of an existing run.

        Without ``last_event_id``, return only new events, and none if the run has ended; with an id, all events after
        it, and with ``-1`` all that are kept. ``modes`` limits the events to these stream modes, ``namespaces`` to
        these graphs inside the run; the root's namespace is empty. Raises RunNotFound.
        """
        record = await self.get_run(run_id, thread_id=thread_id)
        choice = EventFilter(modes, namespaces)
        return await self._open(record, last_event_id or "$", choice, cancel_on_leave=cancel_on_disconnect)

    async def join_wait(
        self, run_id: RunId, *, thread_id: ThreadId | None = None, cancel_on_disconnect: bool = False
    ) -> RunResult:
        """Wait for the end of an existing run; returns at once if it has ended. Raises RunNotFound."""
        return await self._wait(await self.get_run(run_id, thread_id=thread_id), cancel_on_leave=cancel_on_disconnect)

    async def cancel(
        self,
        run_id: RunId,
        *,
        thread_id: ThreadId | None = None,
        action: StopAction = "interrupt",
        taken: bool = False,
        wait: bool = False,
    ) -> StopRequest:
        """Stop a run: ``interrupt`` keeps its steps, ``rollback`` restores the thread and deletes the run.

        ``taken`` records with an interrupt that another run has taken over the input. A second cancel, or one after the
        end, changes nothing. With ``wait``, return when the run has ended. Raises RunNotFound.
        """
        record = await self.get_run(run_id, thread_id=thread_id)
        kept = StopReason.TAKEN if taken else StopReason.BY_USER
        reason = StopReason.BY_ROLLBACK if action == "rollback" else kept
        request = await self._stop(record, reason)
        if wait and request.effect == "flagged":
            await self._waits.wait(request.record)
        return request

    async def get_run(self, run_id: RunId, *, thread_id: ThreadId | None = None) -> RunRecord:
        """Return the stored run. Raises RunNotFound, also if the run belongs to another thread than ``thread_id``."""
        record = await self._runtime.query_store.get_run(run_id)
        if record is None or thread_id not in (None, record.thread_id):
            raise RunNotFound(run_id)
        return record

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        """Return matching runs, newest first."""
        return await self._runtime.query_store.list_runs(where, limit=limit, offset=offset)

    async def count_runs(self, where: RunFilter) -> int:
        """Return the number of matching runs."""
        return await self._runtime.query_store.count_runs(where)

    async def delete_run(self, run_id: RunId, *, thread_id: ThreadId | None = None) -> None:
        """Stop a run, then delete its row, its events and its stream. Its checkpoints stay; `cancel` with ``rollback``
        removes them.

        Raises RunNotFound.
        """
        record = await self.get_run(run_id, thread_id=thread_id)
        request = await self._stop(record, StopReason.DELETED)
        if request.effect == "flagged":
            await self._waits.wait(request.record)
        await self._background.run_shielded(self._forget(record))

    async def _forget(self, record: RunRecord) -> None:
        run_id = record.run_id
        await self._runtime.delete_store.delete_run(run_id)
        with thread_access(record.thread_id):
            await self._runtime.event_store.delete_events(record.thread_id, run_id=run_id)
        # Its worker deletes the mark after settling, and may not have done so yet.
        await self._runtime.checkpoints.forget_mark(record.thread_id, run_id)
        await self._runtime.bridge.cleanup(run_id)

    async def retry(self, run_id: RunId) -> RunRecord:
        """Make a dead letter pending again, with its attempts reset. Raises RunNotFound, RunNotRetriable,
        ThreadBusy."""
        record = await self.get_run(run_id)
        if not record.dead_letter:
            raise RunNotRetriable(run_id, record.status)
        # Delete the stream first: a stream that has ended stays ended, and the next attempt may begin at any moment
        # afterwards.
        await self._runtime.bridge.cleanup(run_id)
        retried = await self._runtime.lease_store.retry(run_id)
        if retried is None:
            raise RunNotFound(run_id)
        return retried

    async def _open(
        self,
        record: RunRecord,
        last_event_id: str | None,
        choice: EventFilter,
        *,
        cancel_on_leave: bool,
        is_new: bool = False,
    ) -> RunStream:
        record = _without_input(record)
        return await self._streams.open(
            record,
            last_event_id=last_event_id,
            choice=choice,
            on_leave=(lambda: self._stop(record, StopReason.BY_DISCONNECT)) if cancel_on_leave else None,
            is_new=is_new,
        )

    async def _wait(self, record: RunRecord, *, cancel_on_leave: bool, is_new: bool = False) -> RunResult:
        record = _without_input(record)
        try:
            return await self._waits.wait(record, is_new=is_new)
        except asyncio.CancelledError:
            if cancel_on_leave:
                # The caller is gone, but the stop that it requested must still be written.
                await self._stop(record, StopReason.BY_DISCONNECT)
            raise

    async def _wait_for_message(self, record: RunRecord, message_id: str) -> RunResult:
        """Wait for the end of the run that a message was sent to, or of the run that the message has started."""
        result = await self._wait(record, cancel_on_leave=False)
        if self._runtime.steering is None:
            return result
        message = await self._runtime.steering.get(record.thread_id, message_id)
        if message.status != "moved":
            return result
        return await self._wait(await self.get_run(message.run_id), cancel_on_leave=False)

    async def _stop(self, record: RunRecord, reason: StopReason) -> StopRequest:
        """Store the stop request, then notify the lease holder, or publish the terminal event if no worker holds the
        run."""
        return await self._background.run_shielded(self._request_stop(record, reason))

    async def _request_stop(self, record: RunRecord, reason: StopReason) -> StopRequest:
        async with self._ambiguous_commits.guard([record]):
            request = await self._runtime.lease_store.request_stop(record.run_id, reason)
        if request is None:
            raise RunNotFound(record.run_id)
        if request.effect == "flagged":
            await self._runtime.dispatcher.request_stop(record.run_id)
        elif request.effect == "ended":
            await self._publish_terminal(request.record, reason, request.thread_status)
        return request

    async def _create(self, specs: Sequence[RunSpec]) -> Sequence[RunRecord]:
        if self._runtime.scheduler is not None:
            specs = await _scheduled(specs, self._runtime.scheduler)
        async with self._ambiguous_commits.guard(await self._ambiguous_commits.candidates(specs)):
            created = await self._runtime.create_store.create_runs(specs, decide)
        for one in created:
            if one.message is not None:
                await self.messages_changed(one.message.run_id)
                continue
            self._registry.remember(one.record, require_actor_context("creating a run"))
            self._runtime.telemetry.run_created(one.record)
            await self._carry_out(one)
        return [one.record for one in created]

    async def _carry_out(self, created: CreatedRun) -> None:
        """Notify the lease holders and readers of the runs in flight that this creation stops."""
        for run_id in created.stopping:
            await self._runtime.dispatcher.request_stop(run_id)
        for ended in created.ended:
            await self._publish_terminal(ended, ended.stop_requested or StopReason.SUPERSEDED, None)

    async def _publish_resolved(self, record: RunRecord) -> None:
        await self._publish_terminal(record, record.stop_requested or StopReason.SUPERSEDED, None)

    async def _publish_terminal(
        self, record: RunRecord, reason: StopReason, thread_status: ThreadStatus | None
    ) -> None:
        """Publish the end of a run that no worker held to its readers and to the observers."""
        with acting(record.actor):
            await publish_terminal_for(self._runtime.bridge, record)
            emitter = RunEventEmitter(record, self._runtime.observer, self._runtime.clock, self._runtime.telemetry)
            await emitter.ended(record, thread_status, stop=reason)


def _archiver(runtime: RunsRuntime) -> FrameArchiver | None:
    if runtime.archive is None:
        return None
    return FrameArchiver(runtime.archive, runtime.bridge, runtime.clock, runtime.limits.lease_term)


def _without_input(record: RunRecord) -> RunRecord:
    """Return the record without its input: a reader may stay for hours, and would keep a large input in memory."""
    return replace(record, spec=replace(record.spec, input=None))


async def _scheduled(specs: Sequence[RunSpec], scheduler: RunScheduler) -> Sequence[RunSpec]:
    if len(specs) == 1:
        return [replace(specs[0], scheduling=await scheduler.schedule(specs[0]))]
    # In parallel, so that a slow priority function delays a batch only once.
    turns = await asyncio.gather(*(scheduler.schedule(spec) for spec in specs))
    return [replace(spec, scheduling=turn) for spec, turn in zip(specs, turns, strict=True)]
