"""Differences between a single server and a cluster: stores, and notifications between processes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from runstead.infra.engines.figures import Pooled
from runstead.infra.storage.database import EnqueueHook, ObservedDatabase, no_enqueue
from runstead.infra.storage.items.vectors import ItemVectors, VectorsComparedHere
from runstead.resources.cache import Cache
from runstead.resources.thread_notices import ThreadNotices
from runstead.runtime.clock import Clock
from runstead.runtime.limits import ClientLimits
from runstead.runtime.runs.dispatch import RunDispatcher
from runstead.runtime.runs.observer import RunObserver
from runstead.runtime.runs.store import RunCheckpointStore, RunEventStore, RunLeaseStore
from runstead.runtime.stream_bridge.contract import StreamBridge


class Notices(ThreadNotices, RunObserver, Protocol):
    """Notifications for readers of threads, fed by lifecycle events."""

    def close(self) -> None:
        """Close all listeners at server shutdown, so that no reader waits any longer."""
        ...


async def _compared_here() -> ItemVectors:
    return VectorsComparedHere()


def _no_listener() -> None:
    return


@dataclass(frozen=True, slots=True)
class Queue:
    """Delivery of pending runs to workers.

    The stores call ``ring`` after a commit, and ``announce`` inside a transaction. ``dispatcher`` builds the
    dispatcher, given whether groups of runs take turns.
    """

    dispatcher: Callable[[RunLeaseStore, bool], RunDispatcher]
    notify: Callable[[], None] = _no_listener
    enqueue: EnqueueHook = no_enqueue


@dataclass(frozen=True, slots=True)
class Profile:
    """Opened profile. ``is_shared``: other processes use it too, and may hold runs."""

    database: ObservedDatabase
    checkpoints: RunCheckpointStore
    bridge: StreamBridge
    events: RunEventStore
    notices: Notices
    queue: Queue
    cache: Cache
    clock: Clock
    is_shared: bool
    limits: ClientLimits = field(default_factory=ClientLimits)
    """Limits of requests and streams: counted by this process, or by all gateways together."""
    others: Sequence[ObservedDatabase] = ()
    """Further databases that must be writable as well."""
    pools: Mapping[str, Pooled] = field(default_factory=dict)
    """Connections to each server or file, for metrics."""
    item_vectors: Callable[[], Awaitable[ItemVectors]] = _compared_here
    """Factory of the comparison of item vectors, called if items are embedded."""
