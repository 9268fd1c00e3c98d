"""Storage ports of the runs domain. Adapters live in `runstead.infra`."""

from .budget_store import RunBudgetStore
from .checkpoint_store import ChannelBytes, CheckpointBytes, FenceableSaver, FenceableStore, RunCheckpointStore
from .create_store import Admission, Admit, CreatedRun, Decide, Refuse, RunCreateStore, Steer
from .delete_store import RunDeleteStore
from .end_outbox import EndNotification, RunEndOutbox
from .event_store import RunEvent, RunEventCategory, RunEventStore, StoredRunEvent
from .frame_archive import FrameArchive
from .lease_store import SUSPECT_LOSSES, UNCOUNTED_STARTS, Recovery, RunLeaseStore, Settled, StopRequest
from .query_store import RunQueryStore
from .steering_store import SteeringStore
from .thread_priorities import ThreadPriorityStore, ThreadScheduling
from .usage_store import RunUsageStore, ThreadUsage, UsageGroup, UsageQuery

__all__ = [
    "SUSPECT_LOSSES",
    "UNCOUNTED_STARTS",
    "Admission",
    "Admit",
    "ChannelBytes",
    "CheckpointBytes",
    "CreatedRun",
    "Decide",
    "EndNotification",
    "FenceableSaver",
    "FenceableStore",
    "FrameArchive",
    "Recovery",
    "Refuse",
    "RunBudgetStore",
    "RunCheckpointStore",
    "RunCreateStore",
    "RunDeleteStore",
    "RunEndOutbox",
    "RunEvent",
    "RunEventCategory",
    "RunEventStore",
    "RunLeaseStore",
    "RunQueryStore",
    "RunUsageStore",
    "Settled",
    "Steer",
    "SteeringStore",
    "StopRequest",
    "StoredRunEvent",
    "ThreadPriorityStore",
    "ThreadScheduling",
    "ThreadUsage",
    "UsageGroup",
    "UsageQuery",
]
