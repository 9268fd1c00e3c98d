"""Ports and limits that the runs domain receives from `bootstrap`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeAlias

from ..clock import Clock, SystemClock
from ..stream_bridge.contract import StreamBridge
from .access_check import RunAccess, UnrestrictedAccess
from .agent_loop import AgentLoops
from .agents import AgentResolver
from .dispatch import RunDispatcher
from .error_redaction import REDACTING, ErrorRedactor
from .observer import CompositeObserver, RunObserver
from .scheduling import RunScheduler
from .secrets import RunSecretStore
from .store import (
    FrameArchive,
    RunBudgetStore,
    RunCheckpointStore,
    RunCreateStore,
    RunDeleteStore,
    RunEndOutbox,
    RunEventStore,
    RunLeaseStore,
    RunQueryStore,
    SteeringStore,
)
from .telemetry import NoTelemetry, RunTelemetry
from .types import RunRecord

SaveWork: TypeAlias = Callable[[], Awaitable[None]]
"""Stores what agent code has done outside of its state so far, such as written files."""
Surroundings: TypeAlias = Callable[[RunRecord], AbstractAsyncContextManager[SaveWork | None]]
"""Factory of the context in which agent code of a run executes, such as context variables. It yields what is called
before each checkpoint, and before the run is settled; None for nothing."""


def no_surroundings(run: RunRecord) -> AbstractAsyncContextManager[None]:
    return nullcontext()


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Limits, each with its unit.

    ``lease_term``: time without renewal after which other workers take a worker's runs over; renewed at a third of it.
    ``max_attempts``: number of lost workers after which a run is a dead letter. ``reserved_slots``: part of
    ``max_concurrent_runs``, reserved for runs of groups that have no executing run. ``stop_grace`` (seconds): time that
    a stop waits for agent code that does not react, before the run is settled without it. ``run_timeout`` (seconds):
    for runs that name none; None for no limit. ``hand_back_grace`` (seconds): as ``stop_grace``, when the process shuts
    down and hands its runs back. ``heartbeat`` (seconds): silence on a stream after which readers get a heartbeat.
    ``input_bytes``: total size of the inputs of all executing runs; None for no limit. ``access_check`` (seconds):
    interval between checks that users still have access.
    """

    max_concurrent_runs: int = 64
    lease_term: timedelta = timedelta(seconds=10)
    max_attempts: int = 3
    reserved_slots: int = 0
    stop_grace: float = 30.0
    hand_back_grace: float = 30.0
    run_timeout: float | None = None
    heartbeat: float = 5.0
    input_bytes: int | None = None
    access_check: float = 5.0


@dataclass(frozen=True, slots=True)
class RunsRuntime:
    """Ports of the runs domain.

    ``store`` is the LangGraph BaseStore for graphs, if there is one. ``error_texts`` decides which errors of agents are
    shown to clients in full. Users with one of ``budget_scopes`` may raise any of the ``budgets``. Without
    ``steering``, no messages reach runs that are going on. ``surroundings`` sets context variables for agent code.
    Without a ``scheduler``, runs begin in the order in which they become due. Without an ``archive``, the streams of
    ended runs can be read only for as long as the bridge keeps them. ``is_shared``: other processes execute runs of the
    same database, and take over runs whose leases expire.
    """

    create_store: RunCreateStore
    query_store: RunQueryStore
    delete_store: RunDeleteStore
    lease_store: RunLeaseStore
    event_store: RunEventStore
    checkpoints: RunCheckpointStore
    bridge: StreamBridge
    dispatcher: RunDispatcher
    agents: AgentResolver
    agent_loops: AgentLoops
    store: object | None = None
    observer: RunObserver = field(default_factory=CompositeObserver)
    required_observers: Sequence[RunObserver] = ()
    end_outbox: RunEndOutbox | None = None
    secrets: RunSecretStore | None = None
    budgets: RunBudgetStore | None = None
    steering: SteeringStore | None = None
    budget_scopes: frozenset[str] = frozenset()
    clock: Clock = field(default_factory=SystemClock)
    limits: RunLimits = field(default_factory=RunLimits)
    error_redactor: ErrorRedactor = REDACTING
    scheduler: RunScheduler | None = None
    surroundings: Surroundings = no_surroundings
    access: RunAccess = field(default_factory=UnrestrictedAccess)
    telemetry: RunTelemetry = field(default_factory=NoTelemetry)
    archive: FrameArchive | None = None
    is_shared: bool = False
