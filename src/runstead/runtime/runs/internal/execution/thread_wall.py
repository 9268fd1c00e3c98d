"""Wall around threads of other users, for nodes that use the checkpointer with a thread of their own choice.

A thread's id may come from a user's input, such as that of a graph which a node invokes.
"""

from __future__ import annotations

from collections.abc import Mapping

from langchain_core.runnables import RunnableConfig

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.exceptions import RunError
from runstead.runtime.runs.store import RunQueryStore
from runstead.runtime.runs.types import RunRecord, ThreadId


class ForeignThread(RunError):
    """A node has used a thread of another user."""

    def __init__(self, thread_id: str) -> None:
        super().__init__(
            f"thread {thread_id} belongs to another user, and this run has no access to it; use a thread of the run's "
            "user, or an id that no thread has"
        )


class ThreadWall:
    """The threads that a run may use: its own, those of its user, and ids that no thread has. Call on the server's loop
    only."""

    def __init__(self, run: RunRecord, query_store: RunQueryStore) -> None:
        self._run, self._query_store = run, query_store

    def is_own(self, thread_id: str | None) -> bool:
        """Return whether an id needs no check."""
        return thread_id is None or thread_id == self._run.thread_id or self._run.actor.is_server

    async def check(self, thread_id: str) -> None:
        """Raise ForeignThread for a thread that the run's user has no access to."""
        with acting(self._run.actor.with_access_to(self._run.thread_id)):
            if await self._query_store.is_foreign_thread(ThreadId(thread_id)):
                raise ForeignThread(thread_id)

    def limited(self, config: RunnableConfig | None) -> RunnableConfig:
        """Return a config to list checkpoints with: without a thread, those of the run's own."""
        if config is not None and thread_of(config) is not None:
            return config
        configurable: Mapping[str, object] = (config or {}).get("configurable") or {}
        return {"configurable": {**configurable, "thread_id": self._run.thread_id}}


def thread_of(config: RunnableConfig) -> str | None:
    """Return the id of the thread that a config names."""
    found = (config.get("configurable") or {}).get("thread_id")
    return None if found is None else str(found)
