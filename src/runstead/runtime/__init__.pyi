"""Public names of the kernel. This is the only list of them: `lazy_exports` reads it too."""

# ruff: noqa: I001 - one statement for each module

from .actor_context import (
    AUTO as AUTO,
    DEFAULT_TENANT_ID as DEFAULT_TENANT_ID,
    DEFAULT_USER_ID as DEFAULT_USER_ID,
    OWN_ONLY as OWN_ONLY,
    AccessScope as AccessScope,
    ActorContext as ActorContext,
    ActorRequired as ActorRequired,
    acting as acting,
    bind_actor_context as bind_actor_context,
    get_actor_context as get_actor_context,
    get_effective_user_id as get_effective_user_id,
    require_actor_context as require_actor_context,
    reset_actor_context as reset_actor_context,
    resolve_user_id as resolve_user_id,
    thread_access as thread_access,
)
from .clock import (
    Clock as Clock,
    SystemClock as SystemClock,
)
from .converters import (
    from_message as from_message,
    from_openai as from_openai,
    text_of as text_of,
    to_message as to_message,
    to_openai as to_openai,
)
from .runs.agent_loop import (
    AgentLoop as AgentLoop,
    AgentLoops as AgentLoops,
    InlineAgentLoops as InlineAgentLoops,
    ThreadAgentLoops as ThreadAgentLoops,
)
from .runs.agents import (
    Agent as Agent,
    AgentFactory as AgentFactory,
    AgentResolver as AgentResolver,
)
from .runs.dispatch import (
    RunDispatcher as RunDispatcher,
    RunWorker as RunWorker,
)
from .runs.exceptions import (
    AgentNotFound as AgentNotFound,
    IllegalTransition as IllegalTransition,
    InvalidRunSpec as InvalidRunSpec,
    LeaseLost as LeaseLost,
    RollbackRequested as RollbackRequested,
    RunConflict as RunConflict,
    RunError as RunError,
    RunNotFound as RunNotFound,
    RunNotRetriable as RunNotRetriable,
    ThreadBusy as ThreadBusy,
    ThreadNotFound as ThreadNotFound,
)
from .runs.facade import (
    RunsFacade as RunsFacade,
    RunStream as RunStream,
)
from .runs.observer import (
    CompositeObserver as CompositeObserver,
    RunLifecycleEvent as RunLifecycleEvent,
    RunLifecycleEventType as RunLifecycleEventType,
    RunObserver as RunObserver,
)
from .runs.runtime import (
    RunLimits as RunLimits,
    RunsRuntime as RunsRuntime,
)
from .runs.store import (
    Admission as Admission,
    Admit as Admit,
    CreatedRun as CreatedRun,
    Decide as Decide,
    Recovery as Recovery,
    Refuse as Refuse,
    RunCheckpointStore as RunCheckpointStore,
    RunCreateStore as RunCreateStore,
    RunDeleteStore as RunDeleteStore,
    RunEvent as RunEvent,
    RunEventCategory as RunEventCategory,
    RunEventStore as RunEventStore,
    RunLeaseStore as RunLeaseStore,
    RunQueryStore as RunQueryStore,
    Settled as Settled,
    StopRequest as StopRequest,
    StoredRunEvent as StoredRunEvent,
)
from .runs.types import (
    STREAM_MODES as STREAM_MODES,
    AssistantId as AssistantId,
    CheckpointRef as CheckpointRef,
    CronId as CronId,
    Durability as Durability,
    IfNotExists as IfNotExists,
    Lease as Lease,
    MultitaskStrategy as MultitaskStrategy,
    OnCompletion as OnCompletion,
    OnDisconnect as OnDisconnect,
    Outcome as Outcome,
    RunCommand as RunCommand,
    RunCompletionData as RunCompletionData,
    RunFailure as RunFailure,
    RunFilter as RunFilter,
    RunId as RunId,
    RunRecord as RunRecord,
    RunResult as RunResult,
    RunScope as RunScope,
    RunSpec as RunSpec,
    RunStatus as RunStatus,
    StopAction as StopAction,
    StopReason as StopReason,
    StreamMode as StreamMode,
    ThreadId as ThreadId,
    ThreadOutcome as ThreadOutcome,
    ThreadStatus as ThreadStatus,
    WorkerId as WorkerId,
)
from .serialization import (
    encode as encode,
    jsonable as jsonable,
)
from .stream_bridge.contract import (
    CANCELLED_SENTINEL as CANCELLED_SENTINEL,
    END_SENTINEL as END_SENTINEL,
    HEARTBEAT_SENTINEL as HEARTBEAT_SENTINEL,
    LIVE as LIVE,
    ResumeResult as ResumeResult,
    ResumeStatus as ResumeStatus,
    Sentinel as Sentinel,
    StreamBridge as StreamBridge,
    StreamEvent as StreamEvent,
    StreamItem as StreamItem,
    StreamStatus as StreamStatus,
    StreamSubscription as StreamSubscription,
    TerminalKind as TerminalKind,
)
from .stream_bridge.exceptions import (
    BridgeClosed as BridgeClosed,
    CapacityExceeded as CapacityExceeded,
    StaleAttempt as StaleAttempt,
    StreamBridgeError as StreamBridgeError,
    StreamNotFound as StreamNotFound,
    StreamTerminated as StreamTerminated,
)
