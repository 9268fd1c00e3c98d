"""The owner of each thread in a store without tables: the actor that first wrote to it.

The events of a thread are in its owner's folder, so other users cannot read them. The marker file prevents another
user from starting a second log under the same thread id.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

from runstead.infra.paths import path_name
from runstead.private_files import make_directory, write_private
from runstead.runtime.actor_context import ActorContext
from runstead.runtime.runs.types import ThreadId


class ThreadOwners:
    """One small file for each thread. Blocking; not for concurrent calls for the same thread."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def claim(self, thread_id: ThreadId, actor: ActorContext) -> bool:
        """Return whether ``actor`` owns the thread, possibly from now on, or has access to it."""
        make_directory(self._folder)
        marker = self._marker(thread_id)
        mine = [path_name(actor.tenant_id), path_name(actor.user_id)]
        owner = _owner_on(marker)
        if owner is not None:
            return bool(owner == mine) or self.shared_by(thread_id, actor) is not None
        # No owner yet, or cut off by a crash before the thread's first event: write it atomically.
        written = marker.with_name(f"{marker.name}.{os.getpid()}")
        write_private(written, orjson.dumps(mine))
        written.replace(marker)
        return True

    def shared_by(self, thread_id: ThreadId, actor: ActorContext) -> tuple[str, str] | None:
        """Return the folder names of the owner's tenant and user if ``actor`` has access to the thread by its id."""
        if thread_id not in actor.reach.thread_ids or (owner := _owner_on(self._marker(thread_id))) is None:
            return None
        tenant, user = owner
        return (tenant, user) if tenant == path_name(actor.tenant_id) else None

    def _marker(self, thread_id: ThreadId) -> Path:
        return self._folder / path_name(thread_id)


def _owner_on(marker: Path) -> Any:
    try:
        return orjson.loads(marker.read_bytes())
    except (FileNotFoundError, ValueError):
        return None
