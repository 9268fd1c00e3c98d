"""In-memory implementations of the kernel's ports that fulfil their contracts completely.

For tests of the kernel, of adapters, and of programs that embed Runstead. For streams use the real
`runstead.infra.stream_bridge.memory.bridge`, which is in memory already.
"""

from .agents import FakeAgent, FakeAgents
from .checkpoints import InMemoryCheckpointStore
from .effects import Effect, EffectLog
from .environment import AgentEnvironment
from .events import InMemoryRunEventStore
from .leases import InMemoryLeaseStore
from .observers import RecordingObserver
from .runs import InMemoryRunStore
from .script import Script, Step
from .script_execution import AgentFailed
from .tables import InMemoryTables
from .threads import InMemoryThreadStore
from .usage import InMemoryRunUsageStore

__all__ = [
    "AgentEnvironment",
    "AgentFailed",
    "Effect",
    "EffectLog",
    "FakeAgent",
    "FakeAgents",
    "InMemoryCheckpointStore",
    "InMemoryLeaseStore",
    "InMemoryRunEventStore",
    "InMemoryRunStore",
    "InMemoryRunUsageStore",
    "InMemoryTables",
    "InMemoryThreadStore",
    "RecordingObserver",
    "Script",
    "Step",
]
