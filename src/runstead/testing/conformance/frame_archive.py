"""The conformance suite of the FrameArchive port.

Subclass it and provide ``storage`` (the run stores) and ``archive``, over the same database and clock.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta

import pytest

from runstead.runtime.actor_context import acting
from runstead.runtime.runs.store import FrameArchive
from runstead.runtime.runs.types import Outcome, RunId, RunRecord, RunStatus, ThreadId
from runstead.runtime.stream_bridge.contract import (
    CANCELLED_SENTINEL,
    END_SENTINEL,
    ResumeResult,
    StreamEvent,
    StreamItem,
    TerminalKind,
)
from runstead.runtime.stream_bridge.exceptions import StreamNotFound

from .run_storage import ALICE, STATELESS, RunStorage


def log_of(count: int, attempt: int = 1, kind: TerminalKind = "end", size: int = 20) -> list[StreamEvent]:
    """Return ``count`` events and a terminal event."""
    data = [b'"%0*d"' % (size, number) for number in range(1, count + 1)]
    events = [StreamEvent(f"{attempt}-{number}", "messages|child:1", each) for number, each in enumerate(data, 1)]
    return [*events, StreamEvent(f"{attempt}-{count + 1}", kind, b"null", kind)]


async def pages(events: Sequence[StreamEvent], size: int = 100) -> AsyncIterator[Sequence[StreamEvent]]:
    for start in range(0, len(events), size):
        yield events[start : start + size]


async def read_all(
    archive: FrameArchive, run_id: RunId, after: str = "-1", attempt: int = 1
) -> tuple[list[StreamItem], list[ResumeResult]]:
    """Read to the end; return the items, and the reader's starts in their order."""
    subscription = await archive.subscribe(run_id, attempt, after)
    items, starts = list[StreamItem](), [subscription.resumed]
    while read := await subscription.read():
        items += read
        if subscription.resumed is not starts[-1]:
            starts.append(subscription.resumed)
    await subscription.aclose()
    return items, starts


class FrameArchiveConformance:
    """The suite of FrameArchive. Subclass it and provide ``storage`` and ``archive``."""

    @pytest.mark.parametrize("kind", ["end", "error", "cancel"])
    async def test_an_archived_stream_is_read_with_its_ids(
        self, storage: RunStorage, archive: FrameArchive, kind: TerminalKind
    ) -> None:
        run = await storage.ended(await storage.accept())
        events = log_of(3_000, kind=kind)
        assert await archive.store(run.run_id, pages(events))
        items, (start,) = await read_all(archive, run.run_id)
        assert items == [*events, CANCELLED_SENTINEL if kind == "cancel" else END_SENTINEL]
        assert start == ResumeResult("resumed", "-1", "1-1")

    async def test_a_reader_resumes_after_any_id(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept())
        events = [*log_of(700)[:-1], *log_of(3, attempt=2)]
        await archive.store(run.run_id, pages(events))
        for index in (0, 511, 512, 698, 699, 700, 702):
            items, (start,) = await read_all(archive, run.run_id, events[index].id)
            assert (start.status, items) == ("resumed", [*events[index + 1 :], END_SENTINEL])
        assert await read_all(archive, run.run_id, events[-1].id) == (
            [END_SENTINEL],
            [ResumeResult("resumed", events[-1].id, "1-1")],
        )
        for unknown in ("1-701", "3-1", "hello"):
            items, (start,) = await read_all(archive, run.run_id, unknown)
            assert (start.status, items) == ("invalid", [*events, END_SENTINEL])

    async def test_missing_events_are_a_gap(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept())
        events = log_of(20)
        await archive.store(run.run_id, pages([*events[4:8], *events[11:]]))
        items, starts = await read_all(archive, run.run_id)
        assert items == [*events[4:8], *events[11:], END_SENTINEL]
        assert starts == [ResumeResult("evicted", "-1", "1-5", 4), ResumeResult("evicted", "1-8", "1-12", 3)]
        items, starts = await read_all(archive, run.run_id, "1-10")
        assert items == [*events[11:], END_SENTINEL]
        assert starts[-1] == ResumeResult("evicted", "1-10", "1-12", 1)
        _, (start,) = await read_all(archive, run.run_id, starts[-1].rejoin or "")
        assert start.status == "resumed"

    async def test_an_archive_without_its_end_is_not_visible(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept())

        async def broken() -> AsyncIterator[Sequence[StreamEvent]]:
            yield log_of(10)[:-1]
            raise ConnectionError("the server is gone")

        with pytest.raises(ConnectionError):
            await archive.store(run.run_id, broken())
        with pytest.raises(ValueError, match="without a terminal event"):
            await archive.store(run.run_id, pages(log_of(10)[:-1]))
        with pytest.raises(StreamNotFound):
            await archive.subscribe(run.run_id, 1, "-1")
        assert await archive.list_missing([run.run_id]) == [run.run_id]

    async def test_writers_of_the_same_run_leave_one_archive(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept())
        events = log_of(50)
        await asyncio.gather(*(archive.store(run.run_id, pages(events)) for _ in range(3)))
        assert (await read_all(archive, run.run_id))[0] == [*events, END_SENTINEL]
        assert await archive.delete_beyond(0) == 1

    async def test_list_missing_names_ended_runs_of_lasting_threads(
        self, storage: RunStorage, archive: FrameArchive
    ) -> None:
        ended = await storage.ended(await storage.accept())
        temporary = await storage.ended(await storage.accept(None, scope=STATELESS))
        running = (await storage.begun(await storage.accept(ThreadId("t-2")))).run
        pending = await storage.accept(ThreadId("t-3"))
        await storage.clock.advance(timedelta(seconds=1))
        later = await storage.ended(
            await storage.accept(
                ThreadId("t-4"),
            )
        )
        ids = [run.run_id for run in (ended, temporary, running, pending, later)]
        assert set(await archive.list_missing(ids)) == {ended.run_id, later.run_id}
        assert await archive.list_missing([]) == []

        start, now = storage.clock.now() - timedelta(hours=1), storage.clock.now()
        found = await archive.list_missing_between(start, now, 10)
        assert found == [(ended.ended_at, ended.run_id), (later.ended_at, later.run_id)]
        assert await archive.list_missing_between(start, now, 1) == found[:1]
        assert await archive.list_missing_between(found[0][0], now, 10) == found[1:]
        assert await archive.list_missing_between(start, now - timedelta(seconds=1), 10) == found[:1]

        await archive.store(ended.run_id, pages(log_of(3)))
        assert await archive.list_missing(ids) == [later.run_id]

    async def test_a_later_attempt_replaces_the_archive(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await self.dead_letter(storage)
        await archive.store(run.run_id, pages(log_of(5)))
        assert await archive.list_missing([run.run_id]) == []
        assert await storage.leases.retry(run.run_id) is not None
        again = await storage.ended(await storage.stands(run))
        assert await archive.list_missing([run.run_id]) == [run.run_id]
        with pytest.raises(StreamNotFound):
            await archive.subscribe(run.run_id, again.attempt, "-1")
        events = log_of(2, attempt=again.attempt)
        await archive.store(run.run_id, pages(events))
        assert (await read_all(archive, run.run_id, attempt=again.attempt))[0] == [*events, END_SENTINEL]
        assert await archive.delete_beyond(0) == 1

    async def dead_letter(self, storage: RunStorage) -> RunRecord:
        return await storage.lost(await storage.accept(), max_attempts=1)

    async def test_an_archive_is_deleted_with_its_run(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept())
        await archive.store(run.run_id, pages(log_of(700)))
        subscription = await archive.subscribe(run.run_id, 1, "-1")
        assert len(await subscription.read()) == 128
        with acting(ALICE):
            await storage.delete.delete_run(run.run_id)
        with pytest.raises(StreamNotFound):  # noqa: PT012 - the events in memory are read before
            while await subscription.read():
                pass
        with pytest.raises(StreamNotFound):
            await archive.subscribe(run.run_id, 1, "-1")
        assert not await archive.store(run.run_id, pages(log_of(1)))
        assert await archive.delete_beyond(0) == 0

    async def test_an_archive_is_deleted_with_its_thread(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept())
        await archive.store(run.run_id, pages(log_of(1)))
        with acting(ALICE):
            await storage.threads.delete(run.thread_id)
        assert await archive.delete_beyond(0) == 0

    async def test_old_archives_and_those_beyond_the_size_are_deleted(
        self, storage: RunStorage, archive: FrameArchive
    ) -> None:
        runs = [await storage.ended(await storage.accept(ThreadId(f"t-{number}"))) for number in range(4)]
        for run in runs:
            noise = StreamEvent("1-1", "values", os.urandom(10_000).hex().encode())
            await archive.store(run.run_id, pages([noise, StreamEvent("1-2", "end", b"null", "end")]))
            await storage.clock.advance(timedelta(days=1))
        assert await archive.delete_before(storage.clock.now() - timedelta(days=3, hours=12)) == 1
        assert await archive.delete_beyond(10**9) == 0
        assert await archive.delete_beyond(28_000) == 1
        for run, is_kept in zip(runs, (False, False, True, True), strict=True):
            assert (await archive.list_missing([run.run_id]) == []) is is_kept

    async def test_an_unknown_run_has_no_archive(self, storage: RunStorage, archive: FrameArchive) -> None:
        for run_id in (RunId("missing"), RunId("\0")):
            with pytest.raises(StreamNotFound):
                await archive.subscribe(run_id, 1, "-1")
            assert not await archive.store(run_id, pages(log_of(1)))

    async def test_a_stopped_run_is_archived(self, storage: RunStorage, archive: FrameArchive) -> None:
        run = await storage.ended(await storage.accept(), Outcome(RunStatus.INTERRUPTED))
        assert await archive.list_missing([run.run_id]) == [run.run_id]
