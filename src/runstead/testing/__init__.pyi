"""Public names for tests of agents. This is the only list of them: `runtime.lazy_exports` reads it too."""

# ruff: noqa: I001 - one statement for each module

from .agent_run import (
    AgentRun as AgentRun,
)
from .agent_server import (
    AgentServer as AgentServer,
)
from .crash_point import (
    CrashPoint as CrashPoint,
    ServerCrashed as ServerCrashed,
)
from .hand_clock import (
    HandClock as HandClock,
)
from .in_process_client import (
    agent_client as agent_client,
)
from .recorded_stream import (
    RecordedStream as RecordedStream,
    ToolCall as ToolCall,
)
from .scripted_model import (
    ScriptedModel as ScriptedModel,
    tool_call as tool_call,
)
