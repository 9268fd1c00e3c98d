"""Configs by which the graph of a thread is opened: of the run that began last, or of the thread's assistant.

A factory may make another graph for each config. What is read of a thread, changed, or continued has to go through the
graph that wrote it. Leaves to others: the keys that the server sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runstead.runtime.runs.store import RunQueryStore
from runstead.runtime.runs.types import RunRecord, ThreadId

from .assistants import AssistantStore
from .threads import ThreadRecord


class ThreadConfigs:
    """Looks up configs under the bound actor."""

    def __init__(self, runs: RunQueryStore, assistants: AssistantStore) -> None:
        self._runs, self._assistants = runs, assistants

    async def latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        """Return the run of the thread that began last; None when none has begun."""
        return await self._runs.get_latest_run(thread_id)

    async def config_of(self, thread: ThreadRecord) -> Mapping[str, Any]:
        """Return the config to open the thread's graph with."""
        return await self.config_after(thread, await self.latest_run(thread.thread_id))

    async def config_after(self, thread: ThreadRecord, run: RunRecord | None) -> Mapping[str, Any]:
        """Return the config to open the thread's graph with, whose latest run is ``run``."""
        graph_id = thread.metadata.get("graph_id")
        if run is not None and run.spec.graph_id == graph_id:
            return run.spec.config
        assistant_id = thread.metadata.get("assistant_id")
        assistant = await self._assistants.get(assistant_id) if isinstance(assistant_id, str) else None
        if assistant is None or assistant.graph_id != graph_id:
            return thread.config
        return layered(assistant.config, thread.config)


def layered(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configs as one; the later wins, within ``configurable`` key by key."""
    config = {key: value for each in configs for key, value in each.items()}
    configurable = {key: value for each in configs for key, value in (each.get("configurable") or {}).items()}
    return {**config, "configurable": configurable}
