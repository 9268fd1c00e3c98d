"""Thread stream: the frames of a thread's runs, one run after the other, and the state updates in between.

This is the stream of older clients (`threads.join_stream`); for the event protocol see `thread_events`. It stays open
between runs, for as long as the thread exists.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final, assert_never

from runstead.runtime.runs.exceptions import RunNotFound, ThreadNotFound
from runstead.runtime.runs.facade import RunStream
from runstead.runtime.runs.types import RunFilter, RunId, RunRecord, ThreadId
from runstead.runtime.serialization import encode
from runstead.runtime.state_machine import StateMachine
from runstead.runtime.stream_bridge.contract import (
    FROM_THE_START,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    Sentinel,
    StreamEvent,
    StreamItem,
)
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, StreamNotFound
from runstead.runtime.stream_bridge.gap import GAP, gap_payload
from runstead.wire.states import from_thread_state
from runstead.wire.thread_stream import Place, ThreadStreamMode, gap_of_run

from .approval_events import NAME, ApprovalNews, approval_news
from .run_events import EventReaderPorts, run_or_none
from .state_updates import StateUpdated, StateUpdates

_EVERYTHING: Final = FROM_THE_START[0]
_PAGE: Final = 50
"""Number of runs that are read at a time; also the maximum number of past runs for a reader from the start."""
_MOST: Final = 1_000
_LOOK_AGAIN: Final = 30.0
"""Seconds after which the rows are read even without a notification."""
_AHEAD: Final = timedelta(minutes=5)
"""Maximum clock difference between two machines; a time later than that has not happened yet."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class ThreadStreamState(Enum):
    """``IDLE``: between runs. ``FOLLOWING``: in the stream of a run. ``GONE``: the thread is deleted."""

    IDLE = auto()
    FOLLOWING = auto()
    GONE = auto()


TRANSITIONS: Final[Mapping[ThreadStreamState, frozenset[ThreadStreamState]]] = {
    ThreadStreamState.IDLE: frozenset({ThreadStreamState.FOLLOWING, ThreadStreamState.GONE}),
    ThreadStreamState.FOLLOWING: frozenset({ThreadStreamState.IDLE}),
    ThreadStreamState.GONE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class _Next:
    """Next run, update or event of an approval to read, and its position."""

    place: Place
    what: RunRecord | StateUpdated | ApprovalNews


class ThreadStreams:
    """Factory of readers on threads of the bound actor."""

    def __init__(self, sources: EventReaderPorts, updates: StateUpdates) -> None:
        self._sources, self._updates = sources, updates

    async def open(
        self, thread_id: ThreadId, modes: Collection[ThreadStreamMode], last_event_id: str | None = None
    ) -> ThreadStream:
        """Return a reader of new events or, with an id, of all events after it; ``-1`` reads everything that is kept.

        Raises ThreadNotFound.
        """
        if await self._sources.threads.get(thread_id) is None:
            raise ThreadNotFound(thread_id)
        join = ThreadStream(self._sources, self._updates, thread_id, modes)
        await join.start(last_event_id)
        return join


class ThreadStream:
    """Position of one reader in a thread. For one task at a time."""

    def __init__(
        self,
        sources: EventReaderPorts,
        updates: StateUpdates,
        thread_id: ThreadId,
        modes: Collection[ThreadStreamMode],
    ) -> None:
        self._sources, self._updates, self._thread_id, self._modes = sources, updates, thread_id, modes
        # Registered before the first read, so that no run begins unnoticed in between.
        self._listener = sources.notices.listener(thread_id)
        self._resume = Place(0)
        self._updated_until = self._told_until = _EPOCH
        self._next: deque[_Next] = deque()
        self._followed: set[tuple[RunId, object]] = set()
        self._live: set[RunId] = set()
        self._ready: list[StreamItem] = []
        self._reader = StateMachine(ThreadStreamState.IDLE, TRANSITIONS)
        self._stream: RunStream | None = None
        """The stream of the run that is followed."""
        self._looked_at: float | None = None
        self._closed = False

    async def start(self, last_event_id: str | None) -> None:
        """Find the position at which to begin."""
        if last_event_id:
            found = Place.parse(last_event_id)
            if found is None or found > Place.at(self._sources.clock.now() + _AHEAD):
                found = None
                # A reader with an unknown id gets a gap event and then everything that is kept.
                gap = gap_payload(None, ResumeResult("invalid", last_event_id, None, None), _EVERYTHING)
                self._ready.append(StreamEvent("", GAP, encode(gap)))
            self._resume = found or Place(0)
            self._updated_until = self._told_until = _EPOCH + timedelta(microseconds=self._resume.time)
            return
        if "lifecycle" in self._modes:
            self._told_until = await self._sources.approvals.latest_event_at(self._thread_id) or _EPOCH
        for run in await self._recent():
            if run.status.is_terminal:
                self._followed.add((run.run_id, run.started_at))
            elif run.started_at is not None:
                self._live.add(run.run_id)
        for update in await self._updates.since(self._thread_id, None) if "state_update" in self._modes else ():
            self._updated_until = max(self._updated_until, update.at)

    async def read(self) -> Sequence[StreamItem]:
        """Return the items that can be read now, at least one; ``[HEARTBEAT_SENTINEL]`` after a silent interval; an
        empty sequence when the thread is gone. Raises BridgeClosed when the server shuts down."""
        while not self._ready and self._reader.state is not ThreadStreamState.GONE:
            self._ready += await self._step()
        items, self._ready = self._ready, []
        return items

    async def aclose(self) -> None:
        """End the reader. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._sources.notices.leave(self._thread_id, self._listener)
        if self._stream is not None:
            await self._stream.aclose()

    async def _step(self) -> Sequence[StreamItem]:
        match self._reader.state:
            case ThreadStreamState.IDLE:
                return await self._find_next()
            case ThreadStreamState.FOLLOWING:
                return await self._follow()
            case ThreadStreamState.GONE:
                return ()
            case _:
                assert_never(self._reader.state)

    async def _find_next(self) -> Sequence[StreamItem]:
        if not self._next:
            await self._look()
        if self._next:
            return await self._begin(self._next.popleft())
        if await self._sources.clock.wait(self._listener.heard, self._sources.heartbeat):
            return ()
        if await self._sources.threads.get(self._thread_id) is not None:
            return [HEARTBEAT_SENTINEL]
        self._reader.enter(ThreadStreamState.GONE)
        return ()

    async def _look(self) -> None:
        """Find new items: runs that were notified, at intervals all runs, and the state updates in between."""
        if self._listener.closed:
            raise BridgeClosed
        now = self._sources.clock.monotonic()
        is_time = self._looked_at is None or self._listener.in_doubt or now - self._looked_at >= _LOOK_AGAIN
        changed = self._listener.take()
        found: list[_Next] = []
        if is_time:
            self._looked_at = now
            runs: Sequence[RunRecord] = await self._recent()
        else:
            runs = [run for run_id in changed if run_id and (run := await run_or_none(self._sources.runs, run_id))]
        if self._modes != frozenset(("state_update",)):
            found += [_Next(Place.of_run(run), run) for run in runs if self._is_to_come(run)]
        if "state_update" in self._modes and (is_time or changed):
            updates = await self._updates.since(self._thread_id, self._updated_until)
            found += [_Next(Place.at(update.at), update) for update in updates]
        if "lifecycle" in self._modes and (is_time or changed):
            news = await approval_news(self._sources, self._thread_id, self._told_until)
            found += [_Next(Place.at(one.at), one) for one in news]
            self._told_until = news[-1].at if news else self._told_until
        self._next.extend(sorted(found, key=lambda one: one.place))

    async def _recent(self) -> Sequence[RunRecord]:
        """Return the runs of the thread, newest first, as far back as this reader needs."""
        found: list[RunRecord] = []
        while len(found) < _MOST:
            page = await self._sources.runs.list_runs(RunFilter(self._thread_id), limit=_PAGE, offset=len(found))
            found.extend(page)
            is_first_page = self._resume.time == 0
            if len(page) < _PAGE or is_first_page or Place.of_run(page[-1]).time <= self._resume.time:
                break
        return found

    def _is_to_come(self, run: RunRecord) -> bool:
        if run.started_at is None and not run.status.is_terminal:
            return False
        place = Place.of_run(run)
        if place.time < self._resume.time or (place.time == self._resume.time and self._resume.is_end):
            return False
        return (run.run_id, run.started_at) not in self._followed or not run.status.is_terminal

    async def _begin(self, coming: _Next) -> Sequence[StreamItem]:
        if isinstance(coming.what, StateUpdated):
            return await self._updated(coming.place, coming.what)
        if isinstance(coming.what, ApprovalNews):
            return [self._event(coming.place, NAME, coming.what.payload())]
        run = coming.what
        if (run.run_id, run.started_at) in self._followed and run.status.is_terminal:
            return ()
        self._followed.add((run.run_id, run.started_at))
        if run.started_at is None:
            # Stopped before it began.
            return [self._done(run)]
        resume = self._resume.log_id if coming.place.time == self._resume.time else "-1"
        if run.run_id in self._live:
            resume = ""
        is_kept = await self._sources.bridge.status(run.run_id) is not None
        is_older = run.status.is_terminal and not is_kept and resume == "-1" and self._has_more
        if is_older and self._resume.time == 0:
            return self._begun_and_done(coming.place, run)
        try:
            stream = await self._sources.runs.join_stream(
                run.run_id, last_event_id=resume or None, modes=None if "run_modes" in self._modes else ()
            )
        except RunNotFound:
            return [self._done(run)]
        if is_older and not stream.is_kept:
            await stream.aclose()
            return self._begun_and_done(coming.place, run)
        self._stream = stream
        self._reader.enter(ThreadStreamState.FOLLOWING)
        return ()

    @property
    def _has_more(self) -> bool:
        """Return whether a later run or update was found."""
        return any(not isinstance(one.what, ApprovalNews) for one in self._next)

    def _begun_and_done(self, place: Place, run: RunRecord) -> Sequence[StreamItem]:
        """Return the events for an older run that has only its record left, or whose events the reader has not missed.

        The latest run is reported with its values too.
        """
        begun = {"run_id": run.run_id, "attempt": max(run.attempt, 1)}
        return [self._event(place, "metadata", begun), self._done(run)]

    async def _follow(self) -> Sequence[StreamItem]:
        stream = self._stream
        assert stream is not None, "it follows a run"
        run = stream.record
        try:
            items = await stream.read()
        except StreamNotFound:
            items = ()
        start = Place.of_run(run)
        shown: list[StreamItem] = []
        for item in items:
            if isinstance(item, StreamEvent):
                if item.terminal in (None, "error") and ("run_modes" in self._modes or item.event == "metadata"):
                    place = start.of_log(item.id)
                    data = encode(gap_of_run(item.data, start)) if item.event == GAP else item.data
                    shown.append(StreamEvent("" if place is None else str(place), item.event, data))
            elif item is HEARTBEAT_SENTINEL:
                shown.append(item)
        if not items or (isinstance(items[-1], Sentinel) and items[-1] is not HEARTBEAT_SENTINEL):
            await stream.aclose()
            self._stream = None
            self._reader.enter(ThreadStreamState.IDLE)
            shown.append(self._done(await run_or_none(self._sources.runs, run.run_id) or run))
        return shown

    async def _updated(self, place: Place, update: StateUpdated) -> Sequence[StreamItem]:
        self._updated_until = max(self._updated_until, update.at)
        state = await self._updates.state(self._thread_id, update)
        if state is None:
            return ()
        return [self._event(place, "state_update", {"state": from_thread_state(state), "thread_id": self._thread_id})]

    def _done(self, run: RunRecord) -> StreamItem:
        end = Place.of_run(run).end(max(run.attempt, 1))
        return self._event(end, "metadata", {"status": "run_done", "run_id": run.run_id})

    def _event(self, place: Place, event: str, data: object) -> StreamEvent:
        return StreamEvent(str(place), event, encode(data))
