"""Traces that the earlier attempts of a run left: its checkpoints and its recorded input."""

from __future__ import annotations

import logging

from runstead.runtime.runs.runtime import RunsRuntime
from runstead.runtime.runs.types import Lease

_log = logging.getLogger(__name__)


async def is_resuming(lease: Lease, runtime: RunsRuntime) -> bool:
    """Return whether an earlier attempt of this run wrote the thread's latest checkpoint."""
    if lease.attempt == 1:
        return False
    config = {"configurable": {"thread_id": lease.thread_id, "checkpoint_ns": ""}}
    latest = await runtime.checkpoints.saver.aget_tuple(config)
    return latest is not None and latest.metadata.get("run_id") == lease.run_id


async def is_input_unrecorded(lease: Lease, runtime: RunsRuntime) -> bool:
    """Return whether no earlier attempt has stored the run's human messages; without an answer, assume it has."""
    if lease.attempt == 1:
        return True
    try:
        return not await runtime.event_store.list_events(
            lease.thread_id, run_id=lease.run_id, event_types=("human_message",), limit=1
        )
    except Exception:
        _log.warning("the events of run %s could not be read", lease.run_id, exc_info=True)
        return False
