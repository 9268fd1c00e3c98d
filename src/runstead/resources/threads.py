"""Threads: a conversation's metadata, status and latest values, and the port that stores them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal, Protocol, TypeAlias

import orjson

from runstead.runtime.runs.types import ThreadAfter, ThreadId, ThreadStatus

ThreadSortField: TypeAlias = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]
SortOrder: TypeAlias = Literal["asc", "desc"]
TtlStrategy: TypeAlias = Literal["delete", "keep_latest"]

LONGEST_TTL: Final = 100 * 366 * 24 * 60.0
"""Minutes: a second, and a hundred years. Whoever wants to keep something for longer wants to keep it for ever."""


@dataclass(frozen=True, slots=True)
class ThreadTtl:
    """How long a thread is kept after it was last used (minutes), and what is done then: all of it goes, or all but its
    latest state. Raises ValueError for a time that is none.
    """

    minutes: float
    strategy: TtlStrategy = "delete"

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= LONGEST_TTL:
            raise ValueError(f"a ttl of {self.minutes} minutes: give it more than 0 and at most a hundred years")

    def over_at(self, last_used: datetime) -> datetime:
        """When the time is over of a thread that was last used then."""
        return last_used + timedelta(minutes=self.minutes)


def changed_title(before: bytes | None, after: bytes | None) -> str | None:
    """Return the text that a state's ``title`` has become; None where it is as it was, or is no text."""
    if after is None or b'"title"' not in after:
        return None
    title = _title_in(after)
    return None if title == _title_in(before) else title


def _title_in(values: bytes | None) -> str | None:
    state = None if values is None else orjson.loads(values)
    title = state.get("title") if isinstance(state, dict) else None
    return title.strip() or None if isinstance(title, str) else None


@dataclass(frozen=True, slots=True)
class ThreadRecord:
    """A thread as stored. ``values`` (None: no state yet) and ``interrupts`` are JSON, encoded; times are UTC.

    ``omits_values``: it has values, which were not read.
    """

    thread_id: ThreadId
    status: ThreadStatus
    metadata: Mapping[str, Any]
    config: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime | None = None
    values: bytes | None = None
    interrupts: bytes = b"{}"
    error: Mapping[str, Any] | None = None
    omits_values: bool = False


@dataclass(frozen=True, slots=True)
class ThreadFilter:
    """Which threads to find; ANDed. ``metadata`` and ``values`` match when every pair is contained (JSON
    containment).
    """

    ids: Sequence[ThreadId] | None = None
    status: ThreadStatus | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)


def values_within(limit: int, sizes: Iterable[tuple[ThreadId, int | None]]) -> set[ThreadId]:
    """Return whose values are read: those of the first threads, as far as they fit; of one at least, unless none may.

    ``sizes`` are threads with the bytes of their values.
    """
    kept: set[ThreadId] = set()
    left = limit
    for thread_id, size in sizes:
        if not size:
            continue
        if size > left and (kept or limit <= 0):
            break
        kept.add(thread_id)
        left -= size
    return kept


class ThreadExists(Exception):
    """A thread with this id exists already."""

    def __init__(self, thread_id: ThreadId) -> None:
        self.thread_id = thread_id
        super().__init__(f"Thread with ID {thread_id} already exists")


class ThreadStore(Protocol):
    """Keeps the threads that the bound actor reaches (ActorRequired without one); any other looks like an absent one.

    These are their own, or what their ``reach`` says. What is made belongs to who makes it.
    """

    async def create(
        self,
        thread_id: ThreadId | None = None,
        *,
        metadata: Mapping[str, Any] | None = None,
        config: Mapping[str, Any] | None = None,
        ttl: ThreadTtl | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> ThreadRecord:
        """A new thread (uuid7 where no id is given), or the one that exists, unchanged, for ``do_nothing``.

        Without ``ttl`` it is kept for as long as the store was told to keep all threads.

        Raises ThreadExists; also when the id is somebody else's, whatever ``if_exists`` says.
        """
        ...

    async def get(self, thread_id: ThreadId) -> ThreadRecord | None: ...

    async def get_ttl(self, thread_id: ThreadId) -> ThreadTtl | None:
        """None for a thread that is kept for ever, and for one that is absent."""
        ...

    async def update(
        self, thread_id: ThreadId, *, metadata: Mapping[str, Any], ttl: ThreadTtl | None = None
    ) -> ThreadRecord | None:
        """Merge ``metadata`` in (top-level keys replace), and keep the thread for ``ttl`` from now on, where one is
        given; None when there is no such thread.
        """
        ...

    async def delete(self, thread_id: ThreadId) -> bool:
        """Forget the thread and the rows of its runs; False when there is none. Raises ThreadBusy while a worker
        holds one of them.
        """
        ...

    async def search(
        self,
        where: ThreadFilter,
        *,
        sort_by: ThreadSortField = "updated_at",
        sort_order: SortOrder = "desc",
        limit: int = 10,
        offset: int = 0,
        values_bytes: int | None = None,
    ) -> Sequence[ThreadRecord]:
        """Matching threads in a stable order (the id breaks ties). Filters apply before ``limit``.

        Values are read up to ``values_bytes`` in all, at least those of the first thread that has some, and of later
        ones omitted; 0: none are read.
        """
        ...

    async def count(self, where: ThreadFilter) -> int: ...

    async def set_state(self, thread_id: ThreadId, after: ThreadAfter) -> None:
        """Record what a state update outside of a run left: values, interrupts, and the status unless the thread is
        busy.
        """
        ...

    async def set_title(self, thread_id: ThreadId, title: str) -> None:
        """Write ``metadata.title``. An unknown thread is ignored: it was deleted meanwhile."""
        ...
