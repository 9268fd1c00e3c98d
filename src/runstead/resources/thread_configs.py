"""Configs with which a thread's graph is opened: that of the run that began last, or that of the thread's assistant.

A factory may build a different graph for each config. All reads, updates and continued runs of a thread have to go
through the graph that wrote it. Other modules add the keys that the server sets.
"""

from __future__ import annotations

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.store import RunQueryStore
from runstead.runtime.runs.types import AssistantId, RunRecord, ThreadId

from .assistants import AssistantStore
from .threads import ThreadRecord


class ThreadConfigs:
    """Lookup of configs under the bound actor."""

    def __init__(self, runs: RunQueryStore, assistants: AssistantStore) -> None:
        self._runs, self._assistants = runs, assistants

    async def latest_run(self, thread_id: ThreadId) -> RunRecord | None:
        """Return the thread's run that began last; None if none has begun."""
        return await self._runs.get_latest_run(thread_id)

    async def config_of(self, thread: ThreadRecord) -> JsonMapping:
        """Return the config with which to open the thread's graph."""
        return await self.config_after(thread, await self.latest_run(thread.thread_id))

    async def config_after(self, thread: ThreadRecord, run: RunRecord | None) -> JsonMapping:
        """Return the config with which to open the thread's graph, given its latest run."""
        graph_id = thread.metadata.get("graph_id")
        if run is not None and run.spec.graph_id == graph_id:
            return run.spec.config
        assistant_id = thread.metadata.get("assistant_id")
        assistant = await self._assistants.get(AssistantId(assistant_id)) if isinstance(assistant_id, str) else None
        if assistant is None or assistant.graph_id != graph_id:
            return thread.config
        return layered(assistant.config, thread.config)


def layered(*configs: JsonMapping) -> JsonObject:
    """Return the merged configs. Later ones take precedence; ``configurable`` is merged key by key."""
    config = {key: value for each in configs for key, value in each.items()}
    configurable = {key: value for each in configs for key, value in (each.get("configurable") or {}).items()}
    return {**config, "configurable": configurable}
