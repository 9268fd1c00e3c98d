"""Copy of a thread: its metadata, state and history, without its runs.

The copy is an independent thread. A thread can be copied while a run executes on it: the copy has the state of one
moment, from which it can be continued.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from uuid_utils.compat import uuid7

from runstead.runtime.actor_context import also_on
from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.store import RunCheckpointStore
from runstead.runtime.runs.types import RunFailure, ThreadAfter, ThreadId

from .states import ThreadStates
from .thread_configs import ThreadConfigs
from .threads import ThreadRecord, ThreadStore


class ThreadCopies:
    """Copies of threads of the bound actor."""

    def __init__(
        self, threads: ThreadStore, checkpoints: RunCheckpointStore, states: ThreadStates, configs: ThreadConfigs
    ) -> None:
        self._threads, self._checkpoints, self._states, self._configs = threads, checkpoints, states, configs

    async def copy(self, thread_id: ThreadId, *, metadata: Mapping[str, Any]) -> ThreadRecord:
        """Copy a thread and return the copy, under a new id. Raises ThreadNotFound."""
        thread = await self._threads.get(thread_id)
        if thread is None:
            raise ThreadNotFound(thread_id)
        ttl = await self._threads.get_ttl(thread_id)
        target = str(uuid7())
        # State first: an existing but empty copy would look like a thread that has lost its state.
        await self._checkpoints.copy_thread(thread_id, target)
        await self._checkpoints.sync()
        # The runs are not copied, and with them the config from which a factory builds the graph would be lost.
        configurable = (await self._configs.config_of(thread)).get("configurable")
        config = {"configurable": configurable} if configurable else {}
        made = await self._threads.create(target, metadata=metadata, config=config, ttl=ttl)
        with also_on(target):
            if thread.status == "busy":
                # The record still has the values of the run before the executing one.
                await self._states.record(target)
            elif thread.values is not None or thread.status != "idle":
                await self._threads.set_state(target, _left(thread))
            return await self._threads.get(target) or made


def _left(thread: ThreadRecord) -> ThreadAfter:
    error = None if thread.error is None else RunFailure(**orjson.loads(orjson.dumps(thread.error)))
    return ThreadAfter(thread.status, thread.values, thread.interrupts, error)
