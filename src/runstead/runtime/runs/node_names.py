"""Name of the graph node whose code runs in a context, for log lines."""

from __future__ import annotations

from contextvars import Context

from langchain_core.runnables.config import var_child_runnable_config


def node_in(context: Context) -> str | None:
    """Return the node's name; None outside nodes. LangGraph stores the node's config in the context of its task."""
    config = context.get(var_child_runnable_config)
    name = ((config or {}).get("metadata") or {}).get("langgraph_node")
    return name if isinstance(name, str) else None
