"""A thread is copied: its metadata, its state and all that led there, and not its runs.

The copy is a thread of its own from then on. A thread can be copied while it works; the copy is as it was at one
moment, and can be gone on with from there.
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
    """Copies threads of the bound actor."""

    def __init__(
        self, threads: ThreadStore, checkpoints: RunCheckpointStore, states: ThreadStates, configs: ThreadConfigs
    ) -> None:
        self._threads, self._checkpoints, self._states, self._configs = threads, checkpoints, states, configs

    async def copy(self, thread_id: ThreadId, *, metadata: Mapping[str, Any]) -> ThreadRecord:
        """The copy, under an id of its own. Raises ThreadNotFound."""
        thread = await self._threads.get(thread_id)
        if thread is None:
            raise ThreadNotFound(thread_id)
        ttl = await self._threads.get_ttl(thread_id)
        target = str(uuid7())
        # The state first: a copy that is there, and is empty, would look like a thread that has lost it.
        await self._checkpoints.copy_thread(thread_id, target)
        await self._checkpoints.sync()
        # Its runs stay behind, and with them the config that says which graph a factory is to make.
        configurable = (await self._configs.config_of(thread)).get("configurable")
        config = {"configurable": configurable} if configurable else {}
        made = await self._threads.create(target, metadata=metadata, config=config, ttl=ttl)
        with also_on(target):
            if thread.status == "busy":
                # What its record says was left by the run before the one that is at work.
                await self._states.record(target)
            elif thread.values is not None or thread.status != "idle":
                await self._threads.set_state(target, _left(thread))
            return await self._threads.get(target) or made


def _left(thread: ThreadRecord) -> ThreadAfter:
    error = None if thread.error is None else RunFailure(**orjson.loads(orjson.dumps(thread.error)))
    return ThreadAfter(thread.status, thread.values, thread.interrupts, error)
