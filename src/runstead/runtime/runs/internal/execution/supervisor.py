"""Supervisor of a worker's runs: starts them, keeps their leases, stops each for one reason, drains."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Coroutine
from typing import Final

from runstead.runtime.periodic import keep_running
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import RunId, StopReason, WorkerId

from .capacity import ExecutionCapacity
from .executor import RunExecution
from .exhaustion import lacks_key
from .latest_states import LatestStates
from .lease_renewal import LeaseRenewal
from .partial_answers import PartialAnswers
from .planner import ExecutionPlanner
from .registry import RunHandle, RunRegistry, stop_revoked

_log = logging.getLogger(__name__)

_KEYLESS_PAUSE: Final = 30.0
"""Seconds without claims after finding a run that needs a key which this process lacks. Other workers may have it."""


class RunSupervisor:
    """Holder of all runs of this process. Dispatchers deliver to it as a RunWorker."""

    def __init__(self, runtime: RunsRuntime, registry: RunRegistry, planner: ExecutionPlanner) -> None:
        self._runtime, self._registry, self._planner = runtime, registry, planner
        self._partial_answers = PartialAnswers()
        self._states = LatestStates(runtime)
        self._claiming = 0
        self._draining = False
        self._slot_freed = asyncio.Event()
        self._claims_paused_until = float("-inf")
        self._capacity = ExecutionCapacity(runtime.limits.input_bytes, runtime.clock, self._slot_freed.set)
        self._notices: set[asyncio.Task[None]] = set()
        self._leases = LeaseRenewal(runtime, registry, self._spawn)
        self._lease_task: asyncio.Task[None] | None = None
        self._access_watch: asyncio.Task[None] | None = None
        # Readable in listings, and different for every process.
        self.worker_id: WorkerId = WorkerId(f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}")

    @property
    def slots(self) -> int:
        return self._runtime.limits.max_concurrent_runs

    @property
    def free(self) -> int:
        if self._draining or self._capacity.is_full or self._runtime.clock.monotonic() < self._claims_paused_until:
            return 0
        return max(0, self.slots - len(self._registry) - self._claiming)

    @property
    def reserved(self) -> int:
        return self._runtime.limits.reserved_slots

    async def wait_free(self, more_than: int = 0) -> None:
        while self.free <= more_than:
            self._slot_freed.clear()
            await self._slot_freed.wait()

    async def launch(self, run_id: RunId) -> bool:
        """Claim the run and begin to execute it. Return False if it is not claimable, or this worker is draining."""
        if self._draining:
            return False
        self._claiming += 1
        try:
            lease = await self._runtime.lease_store.claim(run_id, self.worker_id, self._runtime.limits.lease_term)
            if lease is None:
                return False
            handle = RunHandle(self._registry.whole(lease))
            self._registry.add(handle)
        except Exception as error:
            if lacks_key(error):
                self._pause_claims(error)
            raise
        finally:
            self._claiming -= 1
            self._slot_freed.set()
        if self._draining:
            # Claimed while the drain began: handed back like the others.
            handle.stop(StopReason.SHUTDOWN)
        try:
            handle.task = asyncio.create_task(self._execute(handle), name=f"run {run_id} attempt {lease.attempt}")
        except Exception:
            # Without memory. The lease of a registered run would be renewed for ever.
            self._registry.remove(handle)
            raise
        return True

    async def finished(self, run_id: RunId) -> None:
        handle = self._registry.get(run_id)
        if handle is not None and handle.task is not None:
            await asyncio.wait([handle.task])

    def check_stop_request(self, run_id: RunId) -> None:
        """Check the run's stop flag and its messages soon. Runs that this process does not hold are ignored."""
        if (handle := self._registry.get(run_id)) is not None:
            self._spawn(self._leases.renew(handle))
            if handle.on_messages is not None:
                handle.on_messages()

    def start(self) -> None:
        """Begin to keep leases."""
        clock = self._runtime.clock
        self._lease_task = asyncio.create_task(keep_running(self._leases.run, "lease renewal", clock), name="leases")
        self._access_watch = asyncio.create_task(
            keep_running(self._watch_access, "checking access to runs", clock), name="access of runs"
        )

    def stop_claiming(self) -> None:
        """Claim no more runs; runs that are held continue."""
        self._draining = True

    async def drain(self, grace: float) -> None:
        """Claim no more runs, let held runs finish for ``grace`` seconds, and hand the rest back.

        Return when all have settled or were handed back.
        """
        self.stop_claiming()
        tasks = self._tasks()
        if tasks and grace > 0:
            await asyncio.wait(tasks, timeout=grace)
        for handle in self._registry:
            handle.stop(StopReason.SHUTDOWN)
        while tasks := self._tasks():
            await asyncio.wait(tasks)
        leftover = [task for task in (self._lease_task, self._access_watch, *self._notices) if task is not None]
        for task in leftover:
            task.cancel()
        await asyncio.gather(*leftover, return_exceptions=True)

    def _tasks(self) -> list[asyncio.Task[None]]:
        return [handle.task for handle in self._registry if handle.task is not None]

    async def _execute(self, handle: RunHandle) -> None:
        try:
            async with self._capacity.held(handle), self._runtime.telemetry.around_attempt(handle.lease):
                execution = RunExecution(
                    handle,
                    self._runtime,
                    self._planner,
                    self._partial_answers,
                    self._states,
                    self._pause_claims,
                )
                await execution.run()
        except Exception:
            # The lease expires and the run is recovered. Nothing is lost, but this is a fault.
            _log.exception("run %s: its attempt failed unexpectedly", handle.lease.run_id)
        finally:
            self._registry.remove(handle)
            self._slot_freed.set()

    def _pause_claims(self, error: BaseException) -> None:
        """Pause claims for a while: a run that cannot be read here would only be claimed and handed back again."""
        now = self._runtime.clock.monotonic()
        if now < self._claims_paused_until:
            return
        _log.error("no runs are claimed for %.0f s: %s", _KEYLESS_PAUSE, error)
        self._claims_paused_until = now + _KEYLESS_PAUSE
        self._spawn(self._resume_claims())

    async def _resume_claims(self) -> None:
        await self._runtime.clock.sleep(_KEYLESS_PAUSE)
        self._slot_freed.set()

    async def _watch_access(self) -> None:
        """Stop runs whose users lose access during execution."""
        while True:
            await self._runtime.clock.sleep(self._runtime.limits.access_check)
            for handle in self._registry:
                run = handle.lease.run
                if handle.stop_reason is None and await self._runtime.access.is_revoked(run, begins=False):
                    _log.warning("run %s is stopped: its user has lost access", run.run_id)
                    await stop_revoked(handle, self._runtime.lease_store)

    def _spawn(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._notices.add(task)
        task.add_done_callback(self._notices.discard)
        return task
