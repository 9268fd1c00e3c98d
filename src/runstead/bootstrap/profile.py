"""What differs between one server alone and a cluster: where things are kept, and how processes hear of each other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from runstead.infra.checkpoints.store import SqlCheckpoints
from runstead.infra.storage.announcing import Announce, the_rows_are_the_queue
from runstead.infra.storage.database import ObservedDatabase
from runstead.infra.storage.item_vectors import ItemVectors, VectorsComparedHere
from runstead.resources.cache import Cache
from runstead.resources.thread_notices import ThreadNotices
from runstead.runtime.clock import Clock
from runstead.runtime.runs.dispatch import RunDispatcher
from runstead.runtime.runs.observer import RunObserver
from runstead.runtime.runs.store import RunEventStore, RunLeaseStore
from runstead.runtime.stream_bridge import StreamBridge


class Notices(ThreadNotices, RunObserver, Protocol):
    """What readers of threads hear of, fed by what runs tell their observers."""

    def close(self) -> None:
        """The server goes down: nobody is to wait any longer."""
        ...


async def _compared_here() -> ItemVectors:
    return VectorsComparedHere()


def _nobody_listens() -> None:
    return


@dataclass(frozen=True, slots=True)
class Queue:
    """How waiting runs come to workers: what the stores call, after a commit and inside a transaction, and who hears
    it. ``dispatcher`` is given whether groups of runs take turns.
    """

    dispatcher: Callable[[RunLeaseStore, bool], RunDispatcher]
    ring: Callable[[], None] = _nobody_listens
    announce: Announce = the_rows_are_the_queue


@dataclass(frozen=True, slots=True)
class Profile:
    """What has been opened. ``is_shared``: other processes use it too, and may hold runs."""

    database: ObservedDatabase
    checkpoints: SqlCheckpoints
    bridge: StreamBridge
    events: RunEventStore
    notices: Notices
    queue: Queue
    cache: Cache
    clock: Clock
    is_shared: bool
    others: Sequence[ObservedDatabase] = ()
    """Databases beside ``database``, which have to be written to as well."""
    item_vectors: Callable[[], Awaitable[ItemVectors]] = _compared_here
    """How the vectors of items are compared; asked for when items are embedded."""
