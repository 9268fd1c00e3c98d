"""LangSmith traces of runs, if the operator has enabled them. LangChain sends them; this module sets their destination.

This module never enables tracing. A caller's trace or a project named by a client would, since LangSmith starts to
trace when it gets a parent. Both are therefore used only if the environment enables tracing for this server.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final
from urllib.parse import quote

import orjson
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import tracing_context
from langsmith.utils import tracing_is_enabled

from ....json_types import JsonMapping
from .planner import ExecutionPlan

_TRACE: Final = "langsmith-trace"
_CARRIED: Final = ("langsmith-metadata", "langsmith-tags", "langsmith-project")


@contextmanager
def traced(plan: ExecutionPlan) -> Iterator[list[object]]:
    """Attach traces of the block to the run's project and parent. Yield extra callbacks for a destination that
    LangChain's own tracer would not use.

    Call on the agent's loop, around everything that the graph does.
    """
    if not tracing_is_enabled():
        yield []
        return
    tracers: list[object] = []
    if plan.tracing is not None:
        tracers.append(LangChainTracer(plan.tracing.example_id, plan.tracing.project_name))
    with tracing_context(parent=_parent(plan.config["configurable"])):
        yield tracers


def _parent(configurable: JsonMapping) -> Mapping[str, str] | None:
    """Return the caller's trace, in the form of its headers."""
    if not isinstance(trace := configurable.get(_TRACE), str):
        return None
    baggage = [f"{name}={quote(_text(configurable[name]))}" for name in _CARRIED if name in configurable]
    return {_TRACE: trace, **({"baggage": ",".join(baggage)} if baggage else {})}


def _text(value: object) -> str:
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, list) else orjson.dumps(value).decode()
