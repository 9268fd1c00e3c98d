"""Lifecycle channel: start and end of each graph inside a run.

A subgraph begins with the first task in its namespace, and ends with the parent's task in which it ran.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from runstead.runtime.json_types import JsonMapping

from .blocks import Data
from .events import Namespace
from .tools import tool_call_of

Lived: TypeAlias = tuple[Namespace, Data]


class LifecycleTranslator:
    """Namespaces of one run below its root."""

    def __init__(self) -> None:
        self._seen: set[Namespace] = set()
        self._open: dict[Namespace, str] = {}
        self._calls: dict[str, str] = {}

    def task_started(self, namespace: Namespace, task: JsonMapping) -> Iterator[Lived]:
        if call_id := tool_call_of(task):
            self._calls[str(task.get("id"))] = call_id
        metadata = task.get("metadata")
        agent = metadata.get("lc_agent_name") if isinstance(metadata, dict) else None
        yield from self.seen(namespace, agent if isinstance(agent, str) else None)

    def seen(self, namespace: Namespace, agent: str | None = None) -> Iterator[Lived]:
        """Record an event from this namespace. ``agent`` is the name of the agent in it."""
        if not namespace or namespace in self._seen:
            return
        self._seen.add(namespace)
        name, _, task_id = namespace[-1].partition(":")
        self._open[namespace] = agent or name
        data: Data = {"event": "started", "namespace": list(namespace), "graph_name": agent or name}
        if task_id:
            data["trigger_call_id"] = task_id
        if agent and (call_id := self._calls.get(task_id)):
            data["cause"] = {"type": "toolCall", "tool_call_id": call_id}
        yield namespace, data

    def task_ended(self, namespace: Namespace, task: JsonMapping) -> Iterator[Lived]:
        for child in [child for child in self._open if child[:-1] == namespace]:
            if child[-1].partition(":")[2] == task.get("id"):
                yield child, self._ended(child, *_status(task))

    def run_ended(self, status: str, error: str | None = None) -> Iterator[Lived]:
        """End all open namespaces together with the run, deepest first."""
        for child in sorted(self._open, key=len, reverse=True):
            yield child, self._ended(child, status, error)

    def _ended(self, namespace: Namespace, status: str, error: str | None) -> Data:
        data: Data = {"event": status, "graph_name": self._open.pop(namespace)}
        return {**data, "error": error} if error else data


def _status(task: JsonMapping) -> tuple[str, str | None]:
    if task.get("interrupts"):
        return "interrupted", None
    if error := task.get("error"):
        return "failed", str(error.get("message", "")) if isinstance(error, dict) else str(error)
    return "completed", None
