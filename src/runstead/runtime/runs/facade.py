"""The public entry to runs: nine verbs, and the life of the part that executes.

Each verb acts for the bound actor (ActorRequired without one); a foreign run looks like an absent one.
What is decided, executed, streamed and waited for is the business of `internal`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Self

from ..actor_context import acting, also_on, require_actor_context
from .exceptions import RunNotFound, RunNotRetriable
from .internal.admission import decide
from .internal.choice import StreamChoice
from .internal.doubts import Doubts
from .internal.errands import Errands
from .internal.lifecycle_events import RunEventEmitter
from .internal.planner import ExecutionPlanner
from .internal.publisher import tell_end
from .internal.recovery import RunRecovery
from .internal.registry import RunRegistry
from .internal.streams import RunStream, RunStreamService
from .internal.supervisor import RunSupervisor
from .internal.untold import UntoldEnds
from .internal.wait import RunWaitService
from .run_values import RunValues
from .runtime import RunsRuntime
from .scheduling import RunScheduler
from .store import CreatedRun, StopRequest
from .types import RunFilter, RunId, RunRecord, RunResult, RunSpec, StopAction, Stopped, ThreadId, ThreadStatus

__all__ = ["RunStream", "RunsFacade"]


class RunsFacade:
    """Creates, streams, waits for, cancels, finds and deletes runs."""

    def __init__(
        self,
        runtime: RunsRuntime,
        registry: RunRegistry,
        supervisor: RunSupervisor,
        recovery: RunRecovery,
        untold: UntoldEnds,
        streams: RunStreamService,
        waits: RunWaitService,
    ) -> None:
        self._runtime = runtime
        self._registry = registry
        self._supervisor = supervisor
        self._recovery = recovery
        self._untold = untold
        self._streams = streams
        self._waits = waits
        self._errands = Errands()
        self._doubts = Doubts(runtime, registry, self._errands, self._tell_doubtful)
        self._serving: list[asyncio.Task[None]] = []

    @classmethod
    def assemble(cls, runtime: RunsRuntime) -> Self:
        """The facade over everything that was injected."""
        registry, planner = RunRegistry(), ExecutionPlanner()
        values = RunValues(runtime, planner).read
        streams = RunStreamService(runtime, values)
        return cls(
            runtime,
            registry,
            RunSupervisor(runtime, registry, planner),
            RunRecovery(runtime, registry),
            UntoldEnds(runtime, streams),
            streams,
            RunWaitService(runtime, streams, values),
        )

    async def start(self, *, execute: bool = True) -> None:
        """Begin to execute waiting runs, also those from before; with ``execute=False``, only accept and stream."""
        if not execute:
            return
        self._supervisor.start()
        self._serving = [
            asyncio.create_task(self._runtime.dispatcher.serve(self._supervisor), name="dispatcher"),
            asyncio.create_task(self._recovery.watch(), name="recovery"),
            asyncio.create_task(self._untold.watch(), name="untold ends"),
        ]

    def stop_claiming(self) -> None:
        """Begin no more runs here. To be followed by `close`."""
        self._supervisor.stop_claiming()

    async def close(self, grace: float = 10.0) -> None:
        """Stop claiming, let runs finish for ``grace`` seconds, and hand the rest back, so that another worker (or
        the next start) resumes them.
        """
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving, return_exceptions=True)
        self._serving = []
        await self._supervisor.drain(grace)
        await self._errands.all_done()
        await self._errands.drop()

    @property
    def active_runs(self) -> int:
        """How many runs this process holds."""
        return len(self._registry)

    async def create_background(self, spec: RunSpec) -> RunRecord:
        """Accept a run, and return at once. It survives any crash from here on.

        With ``spec.idempotency``, the run that the same request made before is returned instead of a second one.
        Raises ThreadNotFound, ThreadBusy (strategy ``reject``), RunConflict, IdempotencyMismatch.
        """
        (record,) = await self.create_batch([spec])
        return record

    async def create_batch(self, specs: Sequence[RunSpec]) -> Sequence[RunRecord]:
        """Accept several runs: all, or none. Raises like `create_background`."""
        return await self._errands.finish(self._create(specs))

    async def create_and_stream(
        self, spec: RunSpec, *, namespaces: Collection[str] | None = None
    ) -> tuple[RunRecord, RunStream]:
        """Accept a run and read its stream from the first event. Closing the stream before the end stops the run when
        ``spec.on_disconnect`` is ``cancel``. ``namespaces`` as for `join_stream`. Raises like `create_background`.
        """
        record = await self.create_background(spec)
        leave = spec.on_disconnect == "cancel"
        # From the first event on, and told of it should the window have passed that one already.
        choice = StreamChoice(namespaces=namespaces)
        return record, await self._open(record, "-1", choice, cancel_on_leave=leave, is_new=True)

    async def create_and_wait(self, spec: RunSpec) -> RunResult:
        """Accept a run and wait for its end. Cancelling the call stops the run when ``spec.on_disconnect`` is
        ``cancel``.
        """
        record = await self.create_background(spec)
        return await self._wait(record, cancel_on_leave=spec.on_disconnect == "cancel", is_new=True)

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
        """Read a run that exists. Without an id only what comes from now on, and nothing when the run has ended;
        with one, all after it, and with ``-1`` all that is kept. ``modes`` hides the events of other stream modes,
        ``namespaces`` those of other graphs inside the run; the root's is the empty one.

        Raises RunNotFound.
        """
        record = await self.get_run(run_id, thread_id=thread_id)
        choice = StreamChoice(modes, namespaces)
        return await self._open(record, last_event_id or "$", choice, cancel_on_leave=cancel_on_disconnect)

    async def join_wait(
        self, run_id: RunId, *, thread_id: ThreadId | None = None, cancel_on_disconnect: bool = False
    ) -> RunResult:
        """Wait for the end of a run that exists; answers at once when it has ended. Raises RunNotFound."""
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
        ``taken`` records with an interrupt that another run has taken the input over.

        Cancelling twice, or after the end, changes nothing. With ``wait``, returns when the run has ended. Raises
        RunNotFound.
        """
        record = await self.get_run(run_id, thread_id=thread_id)
        kept = Stopped.TAKEN if taken else Stopped.BY_USER
        reason = Stopped.BY_ROLLBACK if action == "rollback" else kept
        request = await self._stop(record, reason)
        if wait and request.effect == "flagged":
            await self._waits.wait(request.record)
        return request

    async def get_run(self, run_id: RunId, *, thread_id: ThreadId | None = None) -> RunRecord:
        """The run as it stands. Raises RunNotFound; also when it belongs to another thread than ``thread_id``."""
        record = await self._runtime.query_store.get_run(run_id)
        if record is None or thread_id not in (None, record.thread_id):
            raise RunNotFound(run_id)
        return record

    async def list_runs(self, where: RunFilter, *, limit: int = 10, offset: int = 0) -> Sequence[RunRecord]:
        """Matching runs, the newest first."""
        return await self._runtime.query_store.list_runs(where, limit=limit, offset=offset)

    async def count_runs(self, where: RunFilter) -> int:
        """How many runs match."""
        return await self._runtime.query_store.count_runs(where)

    async def delete_run(self, run_id: RunId, *, thread_id: ThreadId | None = None) -> None:
        """Stop a run, then forget its row, its events and its stream. Its checkpoints stay: `cancel` with
        ``rollback`` removes those.

        Raises RunNotFound.
        """
        record = await self.get_run(run_id, thread_id=thread_id)
        request = await self._stop(record, Stopped.DELETED)
        if request.effect == "flagged":
            await self._waits.wait(request.record)
        await self._errands.finish(self._forget(record))

    async def _forget(self, record: RunRecord) -> None:
        run_id = record.run_id
        await self._runtime.delete_store.delete_run(run_id)
        with also_on(record.thread_id):
            await self._runtime.event_store.delete_events(record.thread_id, run_id=run_id)
        # Its worker forgets the mark when it hears that it has settled, and may not have heard it yet.
        await self._runtime.checkpoints.forget_mark(record.thread_id, run_id)
        await self._runtime.bridge.cleanup(run_id)

    async def retry(self, run_id: RunId) -> RunRecord:
        """Let a dead letter run again, with its attempts forgotten. Raises RunNotFound, RunNotRetriable, ThreadBusy."""
        record = await self.get_run(run_id)
        if not record.dead_letter:
            raise RunNotRetriable(run_id, record.status)
        # First, for a stream that has ended stays ended, and the next attempt may begin at any moment after.
        await self._runtime.bridge.cleanup(run_id)
        retried = await self._runtime.lease_store.retry(run_id)
        if retried is None:
            raise RunNotFound(run_id)
        return retried

    async def _open(
        self,
        record: RunRecord,
        last_event_id: str | None,
        choice: StreamChoice,
        *,
        cancel_on_leave: bool,
        is_new: bool = False,
    ) -> RunStream:
        record = _without_input(record)
        return await self._streams.open(
            record,
            last_event_id=last_event_id,
            choice=choice,
            on_leave=(lambda: self._stop(record, Stopped.BY_DISCONNECT)) if cancel_on_leave else None,
            is_new=is_new,
        )

    async def _wait(self, record: RunRecord, *, cancel_on_leave: bool, is_new: bool = False) -> RunResult:
        record = _without_input(record)
        try:
            return await self._waits.wait(record, is_new=is_new)
        except asyncio.CancelledError:
            if cancel_on_leave:
                # The caller is gone; the stop it asked for must still be written.
                await self._stop(record, Stopped.BY_DISCONNECT)
            raise

    async def _stop(self, record: RunRecord, reason: Stopped) -> StopRequest:
        """Ask durably, then tell the holder, or the readers when nobody holds it."""
        return await self._errands.finish(self._request_stop(record, reason))

    async def _request_stop(self, record: RunRecord, reason: Stopped) -> StopRequest:
        async with self._doubts.about([record]):
            request = await self._runtime.lease_store.request_stop(record.run_id, reason)
        if request is None:
            raise RunNotFound(record.run_id)
        if request.effect == "flagged":
            await self._runtime.dispatcher.request_stop(record.run_id)
        elif request.effect == "ended":
            await self._tell_ended(request.record, reason, request.thread_status)
        return request

    async def _create(self, specs: Sequence[RunSpec]) -> Sequence[RunRecord]:
        if self._runtime.scheduler is not None:
            specs = await _scheduled(specs, self._runtime.scheduler)
        async with self._doubts.about(await self._doubts.at_risk(specs)):
            created = await self._runtime.create_store.create_runs(specs, decide)
        for one in created:
            self._registry.remember(one.record, require_actor_context("creating a run"))
            await self._carry_out(one)
        return [one.record for one in created]

    async def _carry_out(self, created: CreatedRun) -> None:
        """What a creation did to the runs in flight: tell their holders and their readers."""
        for run_id in created.stopping:
            await self._runtime.dispatcher.request_stop(run_id)
        for ended in created.ended:
            await self._tell_ended(ended, ended.stop_requested or Stopped.SUPERSEDED, None)

    async def _tell_doubtful(self, record: RunRecord) -> None:
        await self._tell_ended(record, record.stop_requested or Stopped.SUPERSEDED, None)

    async def _tell_ended(self, record: RunRecord, reason: Stopped, thread_status: ThreadStatus | None) -> None:
        """A run ended that nobody held: its readers and the observers have not heard of it yet."""
        with acting(record.actor):
            await tell_end(self._runtime.bridge, record)
            emitter = RunEventEmitter(record, self._runtime.observer, self._runtime.clock)
            await emitter.ended(record, thread_status, stop=reason)


def _without_input(record: RunRecord) -> RunRecord:
    """The record for a reader, who may stay for hours, and would keep a large input in memory as long."""
    return replace(record, spec=replace(record.spec, input=None))


async def _scheduled(specs: Sequence[RunSpec], scheduler: RunScheduler) -> Sequence[RunSpec]:
    if len(specs) == 1:
        return [replace(specs[0], scheduling=await scheduler.schedule(specs[0]))]
    # Together: a slow priority function delays a batch once.
    turns = await asyncio.gather(*(scheduler.schedule(spec) for spec in specs))
    return [replace(spec, scheduling=turn) for spec, turn in zip(specs, turns, strict=True)]
