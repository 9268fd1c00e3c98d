"""What a run is: its specification, its record, its ends. Frozen, JSON-able, plain Python.

``RunCreate`` (wire) -> ``RunSpec`` -> ``RunRecord`` -> ``StreamEvent`` -> frame: the five shapes of one run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, TypeAlias, get_args

from ..actor_context import ActorContext

RunId: TypeAlias = str
ThreadId: TypeAlias = str
WorkerId: TypeAlias = str

StreamMode: TypeAlias = Literal[
    "values", "messages", "messages-tuple", "updates", "events", "debug", "tasks", "checkpoints", "custom"
]
MultitaskStrategy: TypeAlias = Literal["reject", "interrupt", "rollback", "enqueue"]
Durability: TypeAlias = Literal["sync", "async", "exit"]
OnDisconnect: TypeAlias = Literal["cancel", "continue"]
OnCompletion: TypeAlias = Literal["delete", "keep"]
IfNotExists: TypeAlias = Literal["create", "reject"]
ThreadStatus: TypeAlias = Literal["idle", "busy", "interrupted", "error"]
StopAction: TypeAlias = Literal["interrupt", "rollback"]

NOT_STORED: Final = frozenset(("thread_config", "scheduling"))
"""The fields of a RunSpec that are used when the run is created, and not kept with it."""
STREAM_MODES: Final[tuple[StreamMode, ...]] = get_args(StreamMode)


class RunStatus(StrEnum):
    """Where a run stands. `internal.lifecycle` says which moves are legal."""

    PENDING = "pending"
    STARTING = "starting"
    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"

    @property
    def is_terminal(self) -> bool:
        return self in (RunStatus.SUCCESS, RunStatus.ERROR, RunStatus.INTERRUPTED, RunStatus.TIMEOUT)

    @property
    def is_held(self) -> bool:
        """Some worker has claimed it."""
        return self in (RunStatus.STARTING, RunStatus.RUNNING)


class Stopped(StrEnum):
    """Why a run is made to stop. Handed over with the stop; the first reason counts.

    ``TAKEN``: by a user whose other run has taken the input over; an interrupt in all else. ``REVOKED``: its user, or
    the key that made it, has lost the right to it.
    """

    BY_USER = "user_interrupt"
    TAKEN = "taken"
    BY_ROLLBACK = "user_rollback"
    SUPERSEDED = "superseded"
    SUPERSEDED_ROLLBACK = "superseded_rollback"
    BY_DISCONNECT = "disconnect"
    TIMED_OUT = "timeout"
    SHUTDOWN = "shutdown"
    LEASE_LOST = "lease_lost"
    DELETED = "deleted"
    REVOKED = "access_revoked"

    @property
    def undoes(self) -> bool:
        """The run's checkpoints are rolled back and its row is deleted."""
        return self in (Stopped.BY_ROLLBACK, Stopped.SUPERSEDED_ROLLBACK)

    @property
    def settles(self) -> bool:
        """The run ends by this stop. Otherwise another worker goes on with it."""
        return self not in (Stopped.SHUTDOWN, Stopped.LEASE_LOST)


@dataclass(frozen=True, slots=True)
class RunScope:
    """Whether a run belongs to a thread of the user's, or to a temporary one of its own.

    A stateless run gets a temporary thread; with ``on_completion="delete"`` the thread and its
    checkpoints are gone when the run has ended (the run's row is kept for a while, so that
    late waiters get an answer).
    """

    kind: Literal["stateful", "stateless"] = "stateful"
    if_not_exists: IfNotExists = "reject"
    on_completion: OnCompletion = "keep"

    @property
    def is_temporary(self) -> bool:
        return self.kind == "stateless" and self.on_completion == "delete"


@dataclass(frozen=True, slots=True)
class RunCommand:
    """LangGraph's Command, as data: resume an interrupt, update the state, go to nodes.

    ``resume`` is a value, or a mapping of interrupt id to value; ``has_resume`` tells a resume with
    None from none at all. ``goto`` holds node names and ``{"node": ..., "input": ...}`` sends.
    """

    resume: Any = None
    has_resume: bool = False
    update: Any = None
    goto: tuple[str | Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """The checkpoint a run starts from instead of the thread's latest (a fork)."""

    checkpoint_id: str | None = None
    checkpoint_ns: str = ""
    checkpoint_map: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RunTracing:
    """Where a run's trace goes, for who has tracing by LangSmith switched on: a project, an example it is a run of."""

    project_name: str | None = None
    example_id: str | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """The caller's name for one creation, so that repeating the request does not repeat the run.

    ``key`` is theirs within the actor. ``fingerprint`` is of the whole request: the same key with another one is a
    mistake of the caller's.
    """

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CronTick:
    """The due moment of a cron that a run stands for, and the one that comes after it (None: none does). As ISO texts.

    The run is created together with the cron's move from the one to the other, so that each moment makes one run.
    """

    cron_id: str
    due_at: str
    next_at: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadPriority:
    """How urgent the runs of a thread are, -5 first and 5 last, and their fairness group; None for the default one."""

    priority: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Scheduling:
    """How a new run takes its turn. ``group`` is the default group of its user, ``graph_priority`` its graph's, where
    the higher number is the more urgent; it is added to the thread's.

    ``by_thread``: its thread's priority counts, if the thread has one. ``assigned`` is stored as the priority of a
    thread that has none.
    """

    group: str
    graph_priority: int = 0
    by_thread: bool = False
    assigned: ThreadPriority | None = None

    def turn(self, priority: ThreadPriority | None) -> ThreadPriority:
        """Return the run's own priority and group. ``priority`` is the thread's."""
        priority = priority or ThreadPriority()
        return ThreadPriority(priority.priority - self.graph_priority, priority.group or self.group)


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What to execute, complete: assistant defaults are already merged in. JSON-able throughout.

    ``graph_id`` names the graph; ``assistant_id`` the assistant whose settings were merged.
    ``config`` holds ``configurable``, ``tags``, ``metadata``, ``recursion_limit``. Times are in seconds.
    ``input`` None goes on from the thread's state. With ``strict_resume``, a command that answers what is not asked
    fails the run and leaves the thread as it was. ``webhook`` is the address that is told of the run's end.

    ``context_only`` names what is in ``configurable`` only because the context is mirrored there; no checkpoint's
    metadata have it. With ``context_given``, by the request itself, what does not fit the graph's context schema is
    left out there too. ``thread_config`` is written to the thread's record when the run is created (None leaves that as
    it is). ``scheduling`` says in which turn the run begins; None: first come, first served. Both are no part of the
    run, and not stored with it.
    """

    assistant_id: str
    graph_id: str
    thread_id: ThreadId | None = None
    run_id: RunId | None = None
    scope: RunScope = field(default_factory=RunScope)
    input: Any = None
    command: RunCommand | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    context: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    stream_modes: tuple[StreamMode, ...] = ("values",)
    stream_subgraphs: bool = False
    stream_resumable: bool = False
    checkpoint: CheckpointRef | None = None
    durability: Durability = "async"
    interrupt_before: tuple[str, ...] = ()
    interrupt_after: tuple[str, ...] = ()
    multitask_strategy: MultitaskStrategy = "enqueue"
    on_disconnect: OnDisconnect = "continue"
    after_seconds: float = 0
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    strict_resume: bool = False
    tracing: RunTracing | None = None
    idempotency: Idempotency | None = None
    webhook: str | None = None
    tick: CronTick | None = None
    context_only: tuple[str, ...] = ()
    context_given: bool = False
    thread_config: Mapping[str, Any] | None = None
    scheduling: Scheduling | None = None

    def to_json(self) -> dict[str, Any]:
        """As a dict of JSON values; `from_json` restores it."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_STORED}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunSpec:
        data = dict(value)
        data["scope"] = RunScope(**data["scope"])
        if command := data.get("command"):
            data["command"] = RunCommand(**{**command, "goto": tuple(command["goto"])})
        if checkpoint := data.get("checkpoint"):
            data["checkpoint"] = CheckpointRef(**checkpoint)
        if tracing := data.get("tracing"):
            data["tracing"] = RunTracing(**tracing)
        if idempotency := data.get("idempotency"):
            data["idempotency"] = Idempotency(**idempotency)
        if tick := data.get("tick"):
            data["tick"] = CronTick(**tick)
        for name in ("stream_modes", "interrupt_before", "interrupt_after", "context_only"):
            data[name] = tuple(data.get(name, ()))
        return cls(**data)


@dataclass(frozen=True, slots=True)
class RunFailure:
    """Why a run failed. ``error`` is the exception's class, or a reason such as ``RunTimeout`` or
    ``AttemptsExhausted``. ``facts`` are what a program may want to know of it, as JSON.
    """

    error: str
    message: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {"error": self.error, "message": self.message, **self.facts}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> RunFailure:
        facts = {name: fact for name, fact in value.items() if name not in ("error", "message")}
        return cls(value["error"], value["message"], facts)


@dataclass(frozen=True, slots=True)
class RunCompletionData:
    """What a run used and said; counted over all its models and tools, per attempt."""

    total_input_tokens: int = 0
    total_output_tokens: int = 0
    total_tokens: int = 0
    llm_call_count: int = 0
    lead_agent_tokens: int = 0
    subagent_tokens: int = 0
    middleware_tokens: int = 0
    message_count: int = 0
    last_ai_message: str | None = None
    first_human_message: str | None = None

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as stored: the durable truth. Times are aware and in UTC.

    ``attempt`` counts claims, ``lapses`` those that ended with a lost worker. ``queue_seq`` orders the runs of a
    thread. ``base_checkpoint_id`` is the thread's checkpoint from before the run (None: there was none, or it has not
    begun), ``final_checkpoint_id`` the one it left. ``stop_requested`` is the durable flag behind a stop.
    """

    run_id: RunId
    thread_id: ThreadId
    assistant_id: str
    spec: RunSpec
    actor: ActorContext
    status: RunStatus
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    queue_seq: int = 0
    attempt: int = 0
    lapses: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stop_requested: Stopped | None = None
    base_checkpoint_id: str | None = None
    final_checkpoint_id: str | None = None
    failure: RunFailure | None = None
    completion: RunCompletionData | None = None
    dead_letter: bool = False

    @property
    def metadata(self) -> Mapping[str, Any]:
        return self.spec.metadata


@dataclass(frozen=True, slots=True)
class Holder:
    """For whom something is written: one attempt of a run, as long as it holds the run."""

    run_id: RunId
    attempt: int


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to execute one attempt of a run until ``deadline``. Every write of the holder carries it."""

    run: RunRecord
    worker: WorkerId
    attempt: int
    deadline: datetime

    @property
    def run_id(self) -> RunId:
        return self.run.run_id

    @property
    def thread_id(self) -> ThreadId:
        return self.run.thread_id

    @property
    def holder(self) -> Holder:
        return Holder(self.run_id, self.attempt)


@dataclass(frozen=True, slots=True)
class ThreadAfter:
    """How a run leaves its thread. ``values`` and ``interrupts`` are JSON, encoded; ``values`` None keeps what is
    stored.

    ``interrupts`` maps task ids to lists of pending interrupts. ``described`` is merged into the thread's metadata;
    None: its title is, where that has changed in ``values``, or the run has another one.
    """

    status: ThreadStatus = "idle"
    values: bytes | None = None
    interrupts: bytes = b"{}"
    error: RunFailure | None = None
    described: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended; what `RunLeaseStore.settle` writes.

    ``output`` is the run's last values, as JSON, told to waiters and not stored. ``undone`` means that its
    checkpoints were rolled back: the row is deleted instead of ended.
    """

    status: RunStatus
    thread: ThreadAfter = field(default_factory=ThreadAfter)
    failure: RunFailure | None = None
    completion: RunCompletionData = field(default_factory=RunCompletionData)
    final_checkpoint_id: str | None = None
    output: bytes | None = None
    undone: bool = False
    title: str | None = None

    def __post_init__(self) -> None:
        if not self.status.is_terminal:
            raise ValueError(f"a run cannot end as {self.status.value}")


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a waiter gets: the record as it ended, and its last values (JSON) or its failure."""

    record: RunRecord
    output: bytes | None = None
    failure: RunFailure | None = None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Which runs to list; ANDed. ``metadata`` matches when every pair is contained."""

    thread_id: ThreadId | None = None
    statuses: Sequence[RunStatus] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    dead_letters_only: bool = False
    assistant_id: str | None = None
