"""Types of a run: specification, record, outcome. Frozen, JSON-able, plain Python.

``RunCreate`` (wire) -> ``RunSpec`` -> ``RunRecord`` -> ``StreamEvent`` -> frame: the five forms of one run.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, Literal, NewType, TypeAlias, get_args

from ..actor_context import ActorContext
from ..json_types import JsonMapping, JsonObject
from .approvals import ApprovalAnswer, PendingQuestion

RunId = NewType("RunId", str)
ThreadId = NewType("ThreadId", str)
WorkerId = NewType("WorkerId", str)
AssistantId = NewType("AssistantId", str)
CronId = NewType("CronId", str)

StreamMode: TypeAlias = Literal[
    "values", "messages", "messages-tuple", "updates", "events", "debug", "tasks", "checkpoints", "custom"
]
MultitaskStrategy: TypeAlias = Literal["reject", "interrupt", "rollback", "enqueue", "steer"]
Durability: TypeAlias = Literal["sync", "async", "exit"]
OnDisconnect: TypeAlias = Literal["cancel", "continue"]
OnCompletion: TypeAlias = Literal["delete", "keep"]
IfNotExists: TypeAlias = Literal["create", "reject"]
ThreadStatus: TypeAlias = Literal["idle", "busy", "interrupted", "error"]
StopAction: TypeAlias = Literal["interrupt", "rollback"]

NOT_STORED: Final = frozenset(("thread_config", "scheduling", "approval"))
"""Fields of a RunSpec that are used only when the run is created, and are not stored with it."""
STREAM_MODES: Final[tuple[StreamMode, ...]] = get_args(StreamMode)


class RunStatus(StrEnum):
    """Status of a run. `internal.lifecycle` defines the legal transitions."""

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
        """True if a worker has claimed the run."""
        return self in (RunStatus.STARTING, RunStatus.RUNNING)


class StopReason(StrEnum):
    """Reason of a stop. It is passed on with the stop; the first reason counts.

    ``TAKEN``: stopped by a user whose other run has taken over the input; otherwise like an interrupt. ``REVOKED``: the
    run's user, or the API key that created it, has lost access. ``LEASE_EXPIRED``: the lease could not be renewed in
    time, so that another worker may have taken the run over.
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
    LEASE_EXPIRED = "lease_expired"
    DELETED = "deleted"
    REVOKED = "access_revoked"

    @property
    def rolls_back(self) -> bool:
        """True if the run's checkpoints are rolled back and its row is deleted."""
        return self in (StopReason.BY_ROLLBACK, StopReason.SUPERSEDED_ROLLBACK)

    @property
    def is_terminal(self) -> bool:
        """True if the run ends by this stop. Otherwise another worker continues it."""
        return self not in (StopReason.SHUTDOWN, StopReason.LEASE_LOST, StopReason.LEASE_EXPIRED)


@dataclass(frozen=True, slots=True)
class RunScope:
    """Kind of the run's thread: one of the user's, or a temporary one for this run.

    A stateless run gets a temporary thread. With ``on_completion="delete"``, the thread and its checkpoints are deleted
    when the run has ended (the run's row is kept for a while, so that late waiters get a response).
    """

    kind: Literal["stateful", "stateless"] = "stateful"
    if_not_exists: IfNotExists = "reject"
    on_completion: OnCompletion = "keep"

    @property
    def is_temporary(self) -> bool:
        return self.kind == "stateless" and self.on_completion == "delete"


@dataclass(frozen=True, slots=True)
class RunCommand:
    """LangGraph's Command as data: resume an interrupt, update the state, go to nodes.

    ``resume`` is a value, or a mapping of interrupt id to value; ``has_resume`` distinguishes a resume with None from
    no resume. ``goto`` holds node names and ``{"node": ..., "input": ...}`` sends.
    """

    resume: Any = None
    has_resume: bool = False
    update: Any = None
    goto: tuple[str | JsonMapping, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckpointRef:
    """Checkpoint from which a run starts instead of the thread's latest (a fork)."""

    checkpoint_id: str | None = None
    checkpoint_ns: str = ""
    checkpoint_map: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class RunTracing:
    """Destination of a run's LangSmith trace, if tracing is enabled: a project, and the dataset example that the run
    executes."""

    project_name: str | None = None
    example_id: str | None = None


@dataclass(frozen=True, slots=True)
class Idempotency:
    """Caller's key for one creation, so that a repeated request does not create a second run.

    ``key`` is chosen by the caller and scoped to the actor. ``fingerprint`` covers the whole request: the same key with
    a different fingerprint is a mistake of the caller.
    """

    key: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class CronTick:
    """Due time of a cron for which a run is created, and the next due time (None: there is none). As ISO 8601 texts.

    The run is created together with the cron's move from the one to the other, so that each due time creates one run.
    """

    cron_id: CronId
    due_at: str
    next_at: str | None = None


@dataclass(frozen=True, slots=True)
class ThreadPriority:
    """Priority of a thread's runs, from -5 (first) to 5 (last), and their fairness group; None for the default
    group."""

    priority: int = 0
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Scheduling:
    """Scheduling of a new run. ``group`` is the default group of its user. ``graph_priority`` is its graph's priority,
    where a higher number is more urgent; it is combined with the thread's.

    ``by_thread``: the priority of the run's thread counts, if it has one. ``assigned`` is stored as the priority of a
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
    """Complete specification of a run: assistant defaults are already merged in. JSON-able throughout.

    ``graph_id`` names the graph; ``assistant_id`` the assistant whose settings were merged. ``config`` holds
    ``configurable``, ``tags``, ``metadata``, ``recursion_limit``. Times are in seconds. If ``input`` is None, the run
    continues from the thread's state. With ``strict_resume``, a command that answers an interrupt that is not pending
    fails the run and leaves the thread unchanged. ``webhook`` is the URL that is notified of the run's end.

    ``context_only`` names keys of ``configurable`` that are there only because the context is mirrored into it; they
    are kept out of checkpoint metadata. ``context_given`` means that the request itself gave the context; then mirrored
    keys that do not fit the graph's context schema are left out too. ``thread_config`` is written to the thread's
    record when the run is created (None leaves the record unchanged). ``scheduling`` decides the order in which the run
    begins; None: first come, first served. ``approval`` says more about the answer that the run gives. These three are
    not part of the run, and not stored with it.
    """

    assistant_id: AssistantId
    graph_id: str
    thread_id: ThreadId | None = None
    run_id: RunId | None = None
    scope: RunScope = field(default_factory=RunScope)
    input: Any = None
    command: RunCommand | None = None
    config: JsonMapping = field(default_factory=dict)
    context: JsonMapping | None = None
    metadata: JsonMapping = field(default_factory=dict)
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
    thread_config: JsonMapping | None = None
    scheduling: Scheduling | None = None
    approval: ApprovalAnswer | None = None

    def to_json(self) -> JsonObject:
        """Return a dict of JSON values; `from_json` restores the specification."""
        return {name: value for name, value in asdict(self).items() if name not in NOT_STORED}

    @classmethod
    def from_json(cls, value: JsonMapping) -> RunSpec:
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
    """Failure of a run. ``error`` is the exception's class, or a reason such as ``RunTimeout`` or
    ``AttemptsExhausted``. ``facts`` are details for programs, as JSON."""

    error: str
    message: str
    facts: JsonMapping = field(default_factory=dict)

    def to_json(self) -> JsonObject:
        return {"error": self.error, "message": self.message, **self.facts}

    @classmethod
    def from_json(cls, value: JsonMapping) -> RunFailure:
        facts = {name: fact for name, fact in value.items() if name not in ("error", "message")}
        return cls(value["error"], value["message"], facts)


@dataclass(frozen=True, slots=True)
class ModelUsage:
    """Usage of one model by one group of callers: ``lead_agent``, ``subagent`` or ``middleware``.

    ``input_tokens`` include those that the provider read from its cache or wrote to it, ``output_tokens`` those of
    reasoning.
    """

    model: str
    provider: str | None
    caller: str
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0

    @property
    def key(self) -> tuple[str, str | None, str]:
        """The model and the caller: what two usages must agree in to be added."""
        return self.model, self.provider, self.caller

    def plus(self, other: ModelUsage) -> ModelUsage:
        """Return the sum of two usages of the same key."""
        return replace(self, **{name: getattr(self, name) + getattr(other, name) for name in USAGE_COUNTS})

    def minus(self, other: ModelUsage) -> ModelUsage:
        """Return the difference to an earlier usage of the same key."""
        return replace(self, **{name: getattr(self, name) - getattr(other, name) for name in USAGE_COUNTS})


USAGE_COUNTS: Final = tuple(one.name for one in fields(ModelUsage) if one.type == "int")
"""The fields of a ModelUsage that are counts."""


@dataclass(frozen=True, slots=True)
class RunCompletionData:
    """Totals of a run over all its models, tools and attempts, and its first and last message.

    ``models`` has the same tokens by model and caller.
    """

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
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    models: tuple[ModelUsage, ...] = ()

    def plus(
        self,
        usage: Iterable[ModelUsage],
        messages: int = 0,
        *,
        last_ai_message: str | None = None,
        first_human_message: str | None = None,
    ) -> RunCompletionData:
        """Return the sum with what a later attempt used and said."""
        added, models = tuple(usage), {one.key: one for one in self.models}
        for one in added:
            models[one.key] = models[one.key].plus(one) if one.key in models else one

        def of(caller: str) -> int:
            return sum(one.total_tokens for one in added if one.caller == caller)

        return RunCompletionData(
            total_input_tokens=self.total_input_tokens + sum(one.input_tokens for one in added),
            total_output_tokens=self.total_output_tokens + sum(one.output_tokens for one in added),
            total_tokens=self.total_tokens + sum(one.total_tokens for one in added),
            llm_call_count=self.llm_call_count + sum(one.calls for one in added),
            lead_agent_tokens=self.lead_agent_tokens + of("lead_agent"),
            subagent_tokens=self.subagent_tokens + of("subagent"),
            middleware_tokens=self.middleware_tokens + of("middleware"),
            message_count=self.message_count + messages,
            last_ai_message=last_ai_message or self.last_ai_message,
            first_human_message=self.first_human_message or first_human_message,
            cache_read_tokens=self.cache_read_tokens + sum(one.cache_read_tokens for one in added),
            cache_write_tokens=self.cache_write_tokens + sum(one.cache_write_tokens for one in added),
            reasoning_tokens=self.reasoning_tokens + sum(one.reasoning_tokens for one in added),
            models=tuple(models.values()),
        )

    def to_json(self) -> JsonObject:
        """Return the data as JSON values; `from_json` restores it."""
        return {**asdict(self), "models": [asdict(one) for one in self.models]}

    @classmethod
    def from_json(cls, value: JsonMapping) -> RunCompletionData:
        """Restore what `to_json` made."""
        return cls(**{**value, "models": tuple(ModelUsage(**one) for one in value.get("models") or ())})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """Run as stored; authoritative. Times are timezone-aware, in UTC.

    ``attempt`` counts claims, ``lost_attempts`` the attempts that lost their worker. ``queue_seq`` orders the runs of a
    thread. ``base_checkpoint_id`` is the thread's checkpoint from before the run (None: there was none, or the run has
    not begun), ``final_checkpoint_id`` the one that the run left. ``stop_requested`` is the durable stop flag.
    ``message_id`` is set if the record answers a request that sent a steering message to this run.
    """

    run_id: RunId
    thread_id: ThreadId
    assistant_id: AssistantId
    spec: RunSpec
    actor: ActorContext
    status: RunStatus
    created_at: datetime
    updated_at: datetime
    due_at: datetime
    queue_seq: int = 0
    attempt: int = 0
    lost_attempts: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    stop_requested: StopReason | None = None
    base_checkpoint_id: str | None = None
    final_checkpoint_id: str | None = None
    failure: RunFailure | None = None
    completion: RunCompletionData | None = None
    dead_letter: bool = False
    message_id: str | None = field(default=None, compare=False)

    @property
    def metadata(self) -> JsonMapping:
        return self.spec.metadata


@dataclass(frozen=True, slots=True)
class Holder:
    """Holder on whose behalf a write is made: one attempt of a run, valid as long as it holds the run."""

    run_id: RunId
    attempt: int


@dataclass(frozen=True, slots=True)
class Lease:
    """Right to execute one attempt of a run until ``deadline``. Every write of the holder carries it.

    ``follows_question``: the thread waited for a human, or had been stopped, when the attempt began.
    """

    run: RunRecord
    worker: WorkerId
    attempt: int
    deadline: datetime
    follows_question: bool = field(default=False, compare=False)

    @property
    def run_id(self) -> RunId:
        return self.run.run_id

    @property
    def thread_id(self) -> ThreadId:
        return self.run.thread_id

    @property
    def holder(self) -> Holder:
        return Holder(self.run_id, self.attempt)


NO_INTERRUPTS: Final = b"{}"


@dataclass(frozen=True, slots=True)
class ThreadOutcome:
    """State in which a run leaves its thread. ``values`` and ``interrupts`` are encoded JSON; ``values`` None keeps the
    stored ones.

    ``interrupts`` maps task ids to lists of pending interrupts. ``described`` is merged into the thread's metadata. If
    it is None, the thread's title is merged in, if ``values`` contain a new one or the run has another one.
    ``questions`` are the same interrupts, if handlers have encrypted them; None: they are read from ``interrupts``.
    """

    status: ThreadStatus = "idle"
    values: bytes | None = None
    interrupts: bytes = NO_INTERRUPTS
    error: RunFailure | None = None
    described: JsonMapping | None = None
    questions: tuple[PendingQuestion, ...] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a run, which `RunLeaseStore.settle` writes.

    ``completion`` covers all attempts, ``usage`` the last one. ``output`` is the run's last values as JSON; it is
    passed to waiters and not stored. ``undone`` means that the run's checkpoints were rolled back: its row is deleted
    instead of marked as ended.
    """

    status: RunStatus
    thread: ThreadOutcome = field(default_factory=ThreadOutcome)
    failure: RunFailure | None = None
    completion: RunCompletionData = field(default_factory=RunCompletionData)
    usage: tuple[ModelUsage, ...] = ()
    final_checkpoint_id: str | None = None
    output: bytes | None = None
    rolled_back: bool = False
    title: str | None = None

    def __post_init__(self) -> None:
        if not self.status.is_terminal:
            raise ValueError(f"a run cannot end as {self.status.value}")


@dataclass(frozen=True, slots=True)
class RunResult:
    """Result for a waiter: the record of the ended run, and its last values (JSON) or its failure."""

    record: RunRecord
    output: bytes | None = None
    failure: RunFailure | None = None


@dataclass(frozen=True, slots=True)
class RunFilter:
    """Filter of runs; all conditions must hold. ``metadata`` matches if every pair is contained, ``tags`` if the config
    has all of them, ``error`` if it is the failure's class."""

    thread_id: ThreadId | None = None
    statuses: Sequence[RunStatus] = ()
    metadata: JsonMapping = field(default_factory=dict)
    dead_letters_only: bool = False
    assistant_id: AssistantId | None = None
    tags: Sequence[str] = ()
    error: str | None = None
