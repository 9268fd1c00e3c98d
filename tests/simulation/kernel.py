"""One server process of a simulation: the real kernel, over fakes that outlive it, and a bridge that dies with it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from runstead.infra.dispatch.local import LocalDispatcher, LocalDispatchSettings
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.runtime.actor_context import require_actor_context
from runstead.runtime.runs.agent_loop import InlineAgentLoops
from runstead.runtime.runs.exceptions import RunConflict
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.observer import CompositeObserver, RunLifecycleEvent
from runstead.runtime.runs.runtime import RunLimits, RunsRuntime
from runstead.runtime.runs.store import CreatedRun, Decide
from runstead.runtime.runs.types import RunId, RunSpec
from runstead.runtime.stream_bridge.contract import StreamBridge, StreamStatus, TerminalKind
from runstead.testing.fakes import (
    AgentEnvironment,
    EffectLog,
    FakeAgents,
    InMemoryCheckpointStore,
    InMemoryLeaseStore,
    InMemoryRunEventStore,
    InMemoryRunStore,
    InMemoryTables,
    InMemoryThreadStore,
)

from .loop import LoopClock
from .ports import LatencyProfile, Outage, through_network
from .recorder import Published, Recorder
from .world import Process, World

_SAVER_WRITES = ("aput", "aput_writes", "adelete_thread")


@dataclass(frozen=True, slots=True)
class FaultProfile:
    """The faults and limits of a schedule's processes. Shares are between 0 and 1."""

    stores: LatencyProfile = field(default_factory=LatencyProfile)
    lost_notices: float = 0.0
    failing_observers: float = 0.0
    failing_streams: float = 0.0
    slow_streams: LatencyProfile = field(default_factory=lambda: LatencyProfile(instant=1.0))
    careless_agents: bool = False
    window_events: int = 20_000
    window_bytes: int = 16 * 1024 * 1024
    retention: float = 10.0
    awaiting_retention: float = 15.0
    limits: RunLimits = field(
        default_factory=lambda: RunLimits(
            max_concurrent_runs=8, lease_term=timedelta(seconds=3), max_attempts=3, stop_grace=4.0, heartbeat=2.0
        )
    )

    @property
    def is_stormy(self) -> bool:
        """Return whether any call may fail, even after it took effect, so that the caller may never know of it."""
        return "request_stop" in self.stores.outages


class Durable:
    """Everything that survives a process: rows, checkpoints, events, and the agents' side effects."""

    def __init__(self, world: World) -> None:
        clock = LoopClock(lambda: world.now)
        self.witness = Recorder(lambda: world.now)
        self.tables = InMemoryTables(clock, watch=self.witness.moved)
        self.checkpoints = InMemoryCheckpointStore()
        self.events = InMemoryRunEventStore(self.tables.threads)
        self.threads = InMemoryThreadStore(self.tables)
        self.effects = EffectLog(clock)
        self.checkpoint_numbers = count(1)
        self.woken: dict[str, float] = {}
        """The time at which a frozen process woke up, by its name."""

    def woke_late(self, worker: str, began: float) -> bool:
        """Return whether a worker began this right after a freeze, before it could know what had happened."""
        woken = self.woken.get(worker)
        return woken is not None and 0 <= began - woken < 1

    def has_ended(self, run_id: RunId) -> bool:
        """Return whether no durable record says that the run is still in progress."""
        row = self.tables.runs.get(run_id)
        return row is None or row.record.status.is_terminal


class Kernel:
    """A process with a facade in it."""

    def __init__(self, process: Process, durable: Durable, climate: FaultProfile) -> None:
        self.process, self.durable, self.climate = process, durable, climate
        self.streams_to_lose = 0
        """Number of streams to delete before their next subscribers have begun to read, as if a server had lost its
        data.
        """
        settings = MemoryStreamSettings(
            window_events=climate.window_events,
            window_bytes=climate.window_bytes,
            retention=climate.retention,
            awaiting_retention=climate.awaiting_retention,
        )
        self._memory = MemoryStreamBridge(settings, process.clock)
        bell = WakeupSignal()
        runs = self._remote(OneLifeRunStore(durable, bell.notify), "runs")
        leases = self._remote(
            InMemoryLeaseStore(durable.tables, bell.notify),
            "leases",
            ("list_expired", "list_ended_before", "list_claimable", "next_due"),
        )
        dispatch = LocalDispatchSettings(recheck=5)
        self.facade = RunsFacade.assemble(
            RunsRuntime(
                create_store=runs,
                query_store=runs,
                delete_store=runs,
                lease_store=leases,
                event_store=self._remote(durable.events, "events"),
                checkpoints=self._checkpoints(),
                bridge=RecordingBridge(self._memory, self),
                dispatcher=LossyDispatcher(leases, bell, process, climate.lost_notices, dispatch),
                agents=FakeAgents(self._stage()),
                agent_loops=InlineAgentLoops(),
                observer=CompositeObserver([RecordingLifecycleObserver(self)]),
                clock=process.clock,
                limits=climate.limits,
            )
        )
        self._leases = leases
        process.on_death(lambda: durable.effects.worker_died(process.name))

    async def start(self, *, alone: bool) -> None:
        """Start like a bootstrap. ``alone``: no other process uses the storage, so all lease holders are dead."""
        await self._memory.start()
        if alone:
            await self._leases.abandon_all()
        await self.facade.start()

    async def close(self, grace: float) -> None:
        await self.facade.close(grace)
        await self._memory.close()

    async def stream_status(self, run_id: RunId) -> StreamStatus | None:
        return await self._memory.status(run_id)

    async def kept_streams(self) -> list[RunId]:
        """Return the runs whose streams are still kept."""
        return [run_id for run_id in self.durable.witness.published if await self._memory.status(run_id) is not None]

    def _remote(self, port: Any, name: str, silent: tuple[str, ...] = ()) -> Any:
        return through_network(port, self.process, self.climate.stores, name=name, silent=silent)

    def _checkpoints(self) -> Any:
        store = self._remote(self.durable.checkpoints, "checkpoints")
        # The fence checks the lease at the time of the write, so the simulated delay comes after it.
        store.saver = through_network(
            self.durable.checkpoints.saver, self.process, self.climate.stores, name="saver", at_once=_SAVER_WRITES
        )
        return store

    def _stage(self) -> AgentEnvironment:
        process, durable = self.process, self.durable
        return AgentEnvironment(
            clock=process.clock,
            effects=durable.effects,
            worker=process.name,
            before_step=process.port_call,
            waits_for_writes=not self.climate.careless_agents,
            numbers=durable.checkpoint_numbers,
        )


class OneLifeRunStore(InMemoryRunStore):
    """Never accepts the id of a deleted run again. A real store may; here, the history of a run is found by its id."""

    def __init__(self, durable: Durable, ring: Callable[[], None]) -> None:
        super().__init__(durable.tables, ring)
        self._moves = durable.witness.moves

    async def create_runs(self, specs: Sequence[RunSpec], decide: Decide) -> Sequence[CreatedRun]:
        for spec in specs:
            if spec.run_id in self._moves:
                raise RunConflict(RunId(spec.run_id or ""))
        return await super().create_runs(specs, decide)


class RecordingBridge(StreamBridge):
    """The memory bridge with a recorder; sometimes it fails to accept an event or a reader."""

    def __init__(self, inner: MemoryStreamBridge, kernel: Kernel) -> None:
        self._inner, self._kernel = inner, kernel
        self._failing = kernel.climate.failing_streams
        self._chance = kernel.process.world.chance

    async def _travel(self) -> None:
        if seconds := self._kernel.climate.slow_streams.trip(self._chance):
            await self._kernel.process.clock.sleep(seconds)

    def _may_fail(self) -> None:
        if self._failing and self._chance.random() < self._failing:
            raise Outage("the stream bridge did not answer")

    async def start(self) -> None:
        await self._inner.start()

    async def close(self) -> None:
        await self._inner.close()

    async def open(self, run_id: str, attempt: int = 1) -> None:
        self._may_fail()
        await self._inner.open(run_id, attempt)

    async def publish(self, run_id: str, event: str, data: bytes, *, attempt: int = 1) -> str:
        self._may_fail()
        await self._travel()
        event_id = await self._inner.publish(run_id, event, data, attempt=attempt)
        self._published(run_id, event_id, event, data, terminal=False)
        return event_id

    async def publish_end(self, run_id: str, *, attempt: int = 1) -> str:
        return await self.publish_terminal(run_id, "end", b"null", attempt=attempt)

    async def publish_terminal(self, run_id: str, kind: TerminalKind, data: bytes, *, attempt: int = 1) -> str:
        self._may_fail()
        await self._travel()
        status = await self._inner.status(run_id)
        event_id = await self._inner.publish_terminal(run_id, kind, data, attempt=attempt)
        if status is not None and not status.is_terminal:
            self._published(run_id, event_id, kind, data, terminal=True)
        return event_id

    async def subscribe(
        self, run_id: str, last_event_id: str | None = None, heartbeat_interval: float | None = None
    ) -> Any:
        self._may_fail()
        if self._kernel.streams_to_lose:
            self._kernel.streams_to_lose -= 1
            await self._inner.cleanup(run_id)
        return await self._inner.subscribe(run_id, last_event_id, heartbeat_interval)

    async def status(self, run_id: str) -> Any:
        return await self._inner.status(run_id)

    async def list_open(self) -> Sequence[str]:
        return await self._inner.list_open()

    async def mark_awaiting_input(self, run_id: str) -> None:
        self._may_fail()
        await self._inner.mark_awaiting_input(run_id)

    async def mark_answered(self, run_id: str) -> None:
        self._may_fail()
        await self._inner.mark_answered(run_id)

    async def cancel(self, run_id: str, *, attempt: int = 1) -> None:
        await self._inner.cancel(run_id, attempt=attempt)

    async def cleanup(self, run_id: str, delay: float = 0) -> None:
        await self._inner.cleanup(run_id, delay)

    def _published(self, run_id: str, event_id: str, name: str, data: bytes, *, terminal: bool) -> None:
        process, durable = self._kernel.process, self._kernel.durable
        if process.alive:
            process.world.note(process.name, f"publishes {run_id} {event_id} {name}")
            durable.witness.published.setdefault(RunId(run_id), []).append(
                Published(
                    process.name, process.world.now, event_id, name, data, terminal, durable.has_ended(RunId(run_id))
                )
            )


class LossyDispatcher(LocalDispatcher):
    """Loses some of the stop notices."""

    def __init__(
        self, leases: Any, bell: WakeupSignal, process: Process, lost: float, settings: LocalDispatchSettings
    ) -> None:
        super().__init__(leases, bell, process.clock, settings)
        self._lost, self._chance = lost, process.world.chance

    async def request_stop(self, run_id: RunId) -> None:
        if self._chance.random() >= self._lost:
            await super().request_stop(run_id)


class RecordingLifecycleObserver:
    """Records events at the witness, and fails now and then."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel

    async def on_event(self, event: RunLifecycleEvent) -> None:
        process, durable = self._kernel.process, self._kernel.durable
        await process.port_call()
        process.world.note(process.name, f"observes {event.event_type.value} of {event.run_id}")
        durable.witness.told_as.append(require_actor_context("observing a run"))
        durable.witness.published_ends.append((process.name, durable.has_ended(event.run_id), event))
        if process.world.chance.random() < self._kernel.climate.failing_observers:
            raise Outage("an observer failed")
