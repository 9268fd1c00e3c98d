"""Traces by LangSmith, for operators who have switched them on: LangChain sends them by itself, and here is where to.

Nothing here switches tracing on. A caller's trace, or a project that a client names, would: LangSmith takes a parent
for a reason to trace. So both are looked at only where the environment says that this server traces.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote

import orjson
from langchain_core.tracers.langchain import LangChainTracer
from langsmith import tracing_context
from langsmith.utils import tracing_is_enabled

from .planner import ExecutionPlan

_TRACE: Final = "langsmith-trace"
_CARRIED: Final = ("langsmith-metadata", "langsmith-tags", "langsmith-project")


@contextmanager
def traced(plan: ExecutionPlan) -> Iterator[list[Any]]:
    """The block's trace belongs where the run says. Gives the callbacks that send it, where LangChain's own would not.

    On the agent's loop, around everything that the graph does.
    """
    if not tracing_is_enabled():
        yield []
        return
    tracers: list[Any] = []
    if plan.tracing is not None:
        tracers.append(LangChainTracer(plan.tracing.example_id, plan.tracing.project_name))
    with tracing_context(parent=_parent(plan.config["configurable"])):
        yield tracers


def _parent(configurable: Mapping[str, Any]) -> Mapping[str, str] | None:
    """The caller's trace, as the headers that it came in."""
    if not isinstance(trace := configurable.get(_TRACE), str):
        return None
    baggage = [f"{name}={quote(_text(configurable[name]))}" for name in _CARRIED if name in configurable]
    return {_TRACE: trace, **({"baggage": ",".join(baggage)} if baggage else {})}


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    return ",".join(map(str, value)) if isinstance(value, list) else orjson.dumps(value).decode()
