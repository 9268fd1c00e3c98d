"""The embedded profile: SQLite files in one directory, streams in memory, runs executed in this process.

Read from top to bottom, this is the order in which things open; they close in the reverse one.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from runstead.gateway.services import GatewayOptions, Services
from runstead.graphs.configuration import GraphConfiguration
from runstead.graphs.environment import apply_environment
from runstead.graphs.registry import GraphRegistry
from runstead.infra.checkpoints.sqlite import SqliteCheckpoints, open_checkpoints
from runstead.infra.dispatch.local import LocalDispatcher
from runstead.infra.engines.data_dir import own_data_dir
from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.storage.assistants import SqlAssistantStore
from runstead.infra.storage.items import open_items
from runstead.infra.storage.run_creation import SqlRunCreateStore
from runstead.infra.storage.run_deletion import SqlRunDeleteStore
from runstead.infra.storage.run_leases import SqlRunLeaseStore
from runstead.infra.storage.run_queries import SqlRunQueryStore
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.sweeper import StorageSweeper
from runstead.infra.storage.threads import SqlThreadStore
from runstead.infra.stream_bridge.memory import MemoryStreamBridge
from runstead.resources.directory import AssistantDirectory
from runstead.resources.items import ActorScopedStore
from runstead.resources.removal import ThreadRemoval
from runstead.resources.schemas import GraphSchemas
from runstead.resources.states import ThreadStates
from runstead.runtime.clock import Clock, SystemClock
from runstead.runtime.runs.agent_loop import AgentLoops
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.store import RunEventStore
from runstead.runtime.runs.thread_agents import ThreadAgents
from runstead.settings import Settings

from .housekeeping import sweep_regularly
from .parts import agent_loops, event_store, header_choice, item_options, run_limits, stream_settings
from .refusals import refuse_what_cannot_be_kept, without_effect

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Embedded:
    """A running server's parts: what the routes use, and how it all ends."""

    services: Services
    drain: Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def open_embedded(
    settings: Settings, configuration: GraphConfiguration, *, execute: bool = True
) -> AsyncIterator[Embedded]:
    """Everything, started. Raises StorageError, GraphLoadError, UnsupportedConfiguration."""
    refuse_what_cannot_be_kept(configuration, settings)
    for remark in without_effect(configuration):
        _log.warning("%s", remark)
    clock: Clock = SystemClock()
    async with AsyncExitStack() as stack:
        # The user's code first: a graph that cannot be loaded is told before any file is touched.
        apply_environment(configuration, os.environ)
        await asyncio.to_thread(GraphRegistry(configuration).load)

        data_dir: Path = stack.enter_context(own_data_dir(settings.data_dir))
        database = await stack.enter_async_context(open_storage(data_dir / "runstead.db"))
        checkpoints = await stack.enter_async_context(open_checkpoints(data_dir / "checkpoints.db"))
        items = await stack.enter_async_context(open_items(data_dir / "items.db", **item_options(configuration)))
        bridge = await stack.enter_async_context(MemoryStreamBridge.running(stream_settings(settings), clock))
        events = await stack.enter_async_context(event_store(settings, database, data_dir))
        loops: AgentLoops = agent_loops(settings)
        stack.push_async_callback(loops.close)

        store = ActorScopedStore(items)
        graphs = GraphRegistry(configuration, store=store)
        runtime = _runtime(settings, graphs, database, checkpoints, bridge, events, loops, store, clock)
        runs = RunsFacade.assemble(runtime)
        # Whoever held a run before this process started is dead: the data directory is ours alone.
        await runtime.lease_store.abandon_all()
        assistants = SqlAssistantStore(database, clock)
        await assistants.register_graphs(graphs.descriptions)
        await stack.enter_async_context(
            sweep_regularly(
                StorageSweeper(database, clock), checkpoints, timedelta(seconds=settings.stream_retention_seconds)
            )
        )
        await runs.start(execute=execute)
        closing = _Closing(runs, bridge, settings.shutdown_grace_seconds)
        stack.push_async_callback(closing.drain)

        threads = SqlThreadStore(database, clock)
        agents = ThreadAgents(graphs, loops, checkpoints, store)
        services = Services(
            runs=runs,
            threads=threads,
            assistants=assistants,
            directory=AssistantDirectory(assistants, graphs),
            states=ThreadStates(threads, runtime.query_store, checkpoints, agents),
            schemas=GraphSchemas(agents),
            removal=ThreadRemoval(runs, threads, events, checkpoints, bridge),
            events=events,
            items=store,
            ready=lambda: _is_ready(database, closing),
            options=GatewayOptions(
                max_body_bytes=settings.max_body_bytes,
                heartbeat=settings.heartbeat_seconds,
                configurable_headers=header_choice(configuration),
                semantic_search=configuration.store.index is not None,
            ),
        )
        yield Embedded(services, closing.drain)


def _runtime(
    settings: Settings,
    graphs: GraphRegistry,
    database: SqliteDatabase,
    checkpoints: SqliteCheckpoints,
    bridge: MemoryStreamBridge,
    events: RunEventStore,
    loops: AgentLoops,
    store: Any,
    clock: Clock,
) -> RunsRuntime:
    # The stores ring when a run may have become claimable; the dispatcher, made of one of them, hears it.
    ring: list[Callable[[], None]] = []

    def on_waiting() -> None:
        for bell in ring:
            bell()

    leases = SqlRunLeaseStore(database, clock, on_waiting)
    dispatcher = LocalDispatcher(leases, clock=clock)
    ring.append(dispatcher.ring)
    return RunsRuntime(
        create_store=SqlRunCreateStore(database, clock, on_waiting),
        query_store=SqlRunQueryStore(database),
        delete_store=SqlRunDeleteStore(database, clock, on_waiting),
        lease_store=leases,
        event_store=events,
        checkpoints=checkpoints,
        bridge=bridge,
        dispatcher=dispatcher,
        agents=graphs,
        agent_loops=loops,
        store=store,
        clock=clock,
        limits=run_limits(settings),
    )


class _Closing:
    """The end of serving: once, however often it is asked for."""

    def __init__(self, runs: RunsFacade, bridge: MemoryStreamBridge, grace: float) -> None:
        self._runs, self._bridge, self._grace = runs, bridge, grace
        self.begun = False

    async def drain(self) -> None:
        """Runs first, while their readers still read; then the streams end, so that connections can close."""
        if self.begun:
            return
        self.begun = True
        await self._runs.close(self._grace)
        await self._bridge.close()


async def _is_ready(database: SqliteDatabase, closing: _Closing) -> bool:
    if closing.begun:
        return False
    try:
        await database.read(lambda connection: connection.exec_driver_sql("SELECT 1").scalar())
    except Exception:
        return False
    return True
