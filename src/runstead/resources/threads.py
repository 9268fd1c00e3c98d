"""Threads, each with its metadata, status and latest values; and the port that stores them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, Protocol, TypeAlias

import orjson

from runstead.runtime.json_types import JsonMapping
from runstead.runtime.runs.types import ThreadId, ThreadOutcome, ThreadStatus

ThreadSortField: TypeAlias = Literal["thread_id", "status", "created_at", "updated_at", "state_updated_at"]
SortOrder: TypeAlias = Literal["asc", "desc"]
TtlStrategy: TypeAlias = Literal["delete", "keep_latest"]

LONGEST_TTL: Final = 100 * 366 * 24 * 60.0
"""Maximum number of minutes: a hundred years. Longer times are better expressed as no ttl."""


@dataclass(frozen=True, slots=True)
class ThreadTtl:
    """Minutes that a thread is kept after its last use, and the action after that: delete it, or keep only its latest
    state. Raises ValueError for an invalid time."""

    minutes: float
    strategy: TtlStrategy = "delete"

    def __post_init__(self) -> None:
        if not 0 < self.minutes <= LONGEST_TTL:
            raise ValueError(f"a ttl of {self.minutes} minutes: give it more than 0 and at most a hundred years")

    def over_at(self, last_used: datetime) -> datetime:
        """Return the time of expiry of a thread with that last use."""
        return last_used + timedelta(minutes=self.minutes)


def changed_title(before: bytes | None, after: bytes | None) -> str | None:
    """Return a state's new ``title`` text; None if it is unchanged, or not a text."""
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
    """Thread as stored. ``values`` (None: no state yet) and ``interrupts`` are encoded JSON; times are UTC.

    ``omits_values`` means that it has values, which were not read.
    """

    thread_id: ThreadId
    status: ThreadStatus
    metadata: JsonMapping
    config: JsonMapping
    created_at: datetime
    updated_at: datetime
    state_updated_at: datetime | None = None
    values: bytes | None = None
    interrupts: bytes = b"{}"
    error: JsonMapping | None = None
    omits_values: bool = False


@dataclass(frozen=True, slots=True)
class ThreadFilter:
    """Filter of threads; all conditions must hold. ``metadata`` and ``values`` match if every pair is contained (JSON
    containment)."""

    ids: Sequence[ThreadId] | None = None
    status: ThreadStatus | None = None
    metadata: JsonMapping = field(default_factory=dict)
    values: JsonMapping = field(default_factory=dict)


def values_within(limit: int, sizes: Iterable[tuple[ThreadId, int | None]]) -> set[ThreadId]:
    """Return the threads whose values are read: the first ones, up to ``limit`` bytes in total, but at least one unless
    ``limit`` is 0.

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
    """Threads that the bound actor can access (ActorRequired without one); any other thread looks like a missing one.

    These are the actor's own, or those that its ``reach`` grants. A new thread belongs to its creator.
    """

    async def create(
        self,
        thread_id: ThreadId | None = None,
        *,
        metadata: JsonMapping | None = None,
        config: JsonMapping | None = None,
        ttl: ThreadTtl | None = None,
        if_exists: Literal["raise", "do_nothing"] = "raise",
    ) -> ThreadRecord:
        """Return a new thread (uuid7 if no id is given), or with ``do_nothing`` the existing one, unchanged.

        Without ``ttl``, the store's default time to live applies. Raises ThreadExists; also if the id belongs to
        another user, regardless of ``if_exists``.
        """
        ...

    async def get(self, thread_id: ThreadId) -> ThreadRecord | None: ...

    async def get_ttl(self, thread_id: ThreadId) -> ThreadTtl | None:
        """Return the thread's ttl; None for a thread without one, and for a missing thread."""
        ...

    async def update(
        self, thread_id: ThreadId, *, metadata: JsonMapping, ttl: ThreadTtl | None = None
    ) -> ThreadRecord | None:
        """Merge ``metadata`` (top-level keys replace) and, if ``ttl`` is given, keep the thread for that time from now
        on; None if there is no such thread."""
        ...

    async def delete(self, thread_id: ThreadId) -> bool:
        """Delete the thread and the rows of its runs; return False if there is none. Raises ThreadBusy while a worker
        holds one of the runs."""
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
        """Return matching threads in a stable order (the id breaks ties). Filters apply before ``limit``.

        Values are read up to ``values_bytes`` in total, but at least those of the first thread that has any, and
        omitted for later threads; 0: none are read.
        """
        ...

    async def count(self, where: ThreadFilter) -> int: ...

    async def set_state(self, thread_id: ThreadId, after: ThreadOutcome) -> None:
        """Record the result of a state update outside a run: values, interrupts, and the status unless the thread is
        busy."""
        ...

    async def set_title(self, thread_id: ThreadId, title: str) -> None:
        """Write ``metadata.title``. An unknown thread is ignored: it was deleted in the meantime."""
        ...
