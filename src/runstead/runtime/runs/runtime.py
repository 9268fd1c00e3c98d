"""Everything the runs domain is given from outside, in one place; `bootstrap` fills it in."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from ..clock import Clock, SystemClock
from ..stream_bridge import StreamBridge
from .access import EveryAccess, RunAccess
from .agent_loop import AgentLoops
from .agents import AgentResolver
from .dispatch import RunDispatcher
from .error_texts import MASKING, ErrorTexts
from .observer import CompositeObserver, RunObserver
from .scheduling import RunScheduler
from .store import (
    RunCheckpointStore,
    RunCreateStore,
    RunDeleteStore,
    RunEventStore,
    RunLeaseStore,
    RunQueryStore,
)


@dataclass(frozen=True, slots=True)
class RunLimits:
    """Bounds, each with its unit.

    ``lease_term``: how long a worker may be silent before its runs are taken over; renewed at a third of it.
    ``max_attempts``: a run that lost its worker this often is a dead letter. ``reserved_slots``: of
    ``max_concurrent_runs``, for runs of groups that execute none. ``stop_grace`` (seconds): how long a
    stop waits for agent code that does not react, before the run is settled without it. ``run_timeout`` (seconds):
    for runs that name none; None for no limit. ``hand_back_grace`` (seconds): as ``stop_grace``, when the process is to
    end and its runs are handed back. ``heartbeat`` (seconds): of silence on a stream, after which readers
    get a heartbeat. ``input_bytes``: of the inputs of all runs that execute at once; None for no limit.
    ``access_check`` (seconds): how often it is asked whether users still have access.
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
    """The ports of the runs domain. ``store`` is langgraph's BaseStore for graphs, if there is one; ``error_texts``
    says which failures of agents are told in their own words; without a ``scheduler``, runs begin in the order in which
    they fall due.
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
    store: Any | None = None
    observer: RunObserver = field(default_factory=CompositeObserver)
    clock: Clock = field(default_factory=SystemClock)
    limits: RunLimits = field(default_factory=RunLimits)
    error_texts: ErrorTexts = MASKING
    scheduler: RunScheduler | None = None
    access: RunAccess = field(default_factory=EveryAccess)
