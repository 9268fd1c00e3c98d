"""Runs whose worker was lost before it published the terminal event: other workers publish it, once."""

from __future__ import annotations

import errno
import json
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

import pytest

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge
from runstead.runtime.actor_context import acting
from runstead.runtime.runs.facade import RunsFacade
from runstead.runtime.runs.internal.recovery.orphaned_streams import OrphanedStreamReconciler
from runstead.runtime.runs.internal.streaming.stream_service import ReadValues, RunStreamService
from runstead.runtime.runs.runtime import RunLimits
from runstead.runtime.runs.types import RunId, RunRecord, RunStatus, StopReason, ThreadId
from runstead.runtime.storage_fault import FaultKind, StorageFault
from runstead.runtime.stream_bridge.contract import END_SENTINEL, StreamEvent, StreamItem, StreamStatus, TerminalKind
from runstead.testing.fakes import InMemoryLeaseStore
from runstead.testing.gaps import gap_event_data
from tests.faults.kernel import ALICE, Storage, a_spec

TERM = 10.0
LIMITS = RunLimits(lease_term=timedelta(seconds=TERM), heartbeat=100 * TERM)
"""Readers learn the end from events, not from a timeout."""


class Away(StorageFault):
    kind: FaultKind = "away"


class SpeechlessBridge(MemoryStreamBridge):
    """Drops terminal events of runs while enabled, as if their publisher had died."""

    speechless = True

    async def publish_terminal(self, run_id: str, kind: TerminalKind, data: bytes, *, attempt: int = 1) -> str:
        return "" if self.speechless else await super().publish_terminal(run_id, kind, data, attempt=attempt)


class SpeechlessStorage(Storage):
    def __init__(self) -> None:
        super().__init__()
        self.bridge: SpeechlessBridge = SpeechlessBridge(clock=self.clock)

    async def end_unpublished(self, runs: RunsFacade, run_id: str = "r1") -> RunRecord:
        """End a run in the storage without a terminal event on its stream."""
        await runs.create_background(a_spec(run_id))
        await self.clock.advance(1)
        assert self.status(run_id) == "success"
        self.bridge.speechless = False
        return self.tables.runs[RunId(run_id)].record


async def test_reconciled_stream_has_gap_values_and_end() -> None:
    storage = SpeechlessStorage()
    async with storage.worker(limits=LIMITS) as runs:
        with acting(ALICE):
            await storage.end_unpublished(runs)
            stream = await runs.join_stream(RunId("r1"), last_event_id="-1")
            await storage.clock.advance(3 * TERM)
            items = [item async for item in stream if isinstance(item, StreamEvent)]
            state = (await runs.join_wait(RunId("r1"))).output
    *_, gap, values, end = items
    assert (gap.event, json.loads(gap.data)) == ("gap", gap_event_data("r1", None, None, None, "2-1"))
    assert values.event == "values"
    assert (end.terminal, end.data) == ("end", values.data)
    assert state == values.data
    # Published as a later attempt: the lost one cannot continue behind it.
    assert [item.id for item in (gap, values, end)] == ["2-1", "2-2", "2-3"]


async def test_late_subscriber_replays_identical_events() -> None:
    storage = SpeechlessStorage()
    async with storage.worker(limits=LIMITS) as runs:
        with acting(ALICE):
            await storage.end_unpublished(runs)
            first = await runs.join_stream(RunId("r1"), last_event_id="-1")
            await storage.clock.advance(3 * TERM)
            assert await read(first) == await read(await runs.join_stream(RunId("r1"), last_event_id="-1"))


async def test_only_one_worker_publishes_the_missing_terminal_event() -> None:
    storage = SpeechlessStorage()
    async with storage.workers(True, True, True, limits=LIMITS) as (runs, *_):
        with acting(ALICE):
            await storage.end_unpublished(runs)
            await storage.clock.advance(5 * TERM)
            items = await read(await runs.join_stream(RunId("r1"), last_event_id="-1"))
    told = [item.event for item in items if isinstance(item, StreamEvent)]
    assert told.count("gap") == 1
    assert items[-1] is END_SENTINEL


async def test_late_worker_publishes_its_own_terminal_event() -> None:
    storage = SpeechlessStorage()
    async with storage.worker(limits=LIMITS) as runs:
        with acting(ALICE):
            await storage.end_unpublished(runs)
            # Time for one check after the end, and not for a second.
            await storage.clock.advance(TERM)
            assert await storage.bridge.status("r1") is StreamStatus.OPEN
            assert await storage.bridge.publish_end("r1") == "1-4"
            await storage.clock.advance(5 * TERM)
            items = await read(await runs.join_stream(RunId("r1"), last_event_id="-1"))
    assert "gap" not in [item.event for item in items if isinstance(item, StreamEvent)]


async def test_run_cancelled_before_its_start_has_no_gap() -> None:
    storage = SpeechlessStorage()
    async with storage.workers(False, limits=LIMITS) as (gateway,):
        with acting(ALICE):
            await gateway.create_background(a_spec("r1"))
            stream = await gateway.join_stream(RunId("r1"), last_event_id="-1")
            await gateway.cancel(RunId("r1"))
        storage.bridge.speechless = False
        await gateway.start()
        await storage.clock.advance(3 * TERM)
        items = await read(stream)
    assert [item.terminal for item in items if isinstance(item, StreamEvent)] == ["cancel"]


async def test_silent_live_run_is_not_ended() -> None:
    storage = SpeechlessStorage()
    async with storage.workers(False, limits=LIMITS) as (gateway,):
        with acting(ALICE):
            await gateway.create_background(a_spec("r1", after_seconds=3600))
            await gateway.join_stream(RunId("r1"))
        await gateway.start()
        await storage.clock.advance(20 * TERM)
        assert await storage.bridge.status("r1") is StreamStatus.OPEN
        assert storage.tables.runs[RunId("r1")].record.status is RunStatus.PENDING
        await storage.leases.request_stop(RunId("r1"), StopReason.BY_USER)


async def read(stream: object) -> list[StreamItem]:
    return [item async for item in stream]  # type: ignore[attr-defined]


@asynccontextmanager
async def orphaned_runs(storage: SpeechlessStorage, *run_ids: str) -> AsyncIterator[None]:
    """Runs that ended without a terminal event, long enough ago, and are not searched for except by the test."""
    async with storage.worker() as runs:
        with acting(ALICE):
            for number, run_id in enumerate(run_ids):
                storage.bridge.speechless = True
                await runs.create_background(a_spec(run_id, thread_id=ThreadId(f"t{number}")))
                await storage.clock.advance(1)
        storage.bridge.speechless = False
        await storage.clock.advance(2 * TERM)
        yield


def looking(storage: Storage, read_values: ReadValues) -> OrphanedStreamReconciler:
    runtime = storage.runtime(limits=LIMITS)
    return OrphanedStreamReconciler(runtime, RunStreamService(runtime, read_values))


async def test_worker_without_the_values_leaves_the_end_to_another() -> None:
    """The graph is missing: ending the stream without values would give all waiters an empty result."""

    async def unreadable(record: RunRecord) -> bytes | None:
        raise ValueError("there is no such graph")

    async def readable(record: RunRecord) -> bytes | None:
        return b'{"log":["all"]}'

    storage = SpeechlessStorage()
    async with orphaned_runs(storage, "r1"):
        here, elsewhere = looking(storage, unreadable), looking(storage, readable)
        assert [await here.reconcile() for _ in range(4)] == [0, 0, 0, 0]
        assert await storage.bridge.status("r1") is StreamStatus.OPEN
        assert [await elsewhere.reconcile() for _ in range(2)] == [0, 1]
        with acting(ALICE):
            streams = RunStreamService(storage.runtime(), readable)
            *_, end = await read(await streams.open(storage.tables.runs[RunId("r1")].record, last_event_id="$"))
    assert end is END_SENTINEL


async def test_values_that_could_not_be_read_are_read_again_later() -> None:
    errors: list[Exception] = [OSError(errno.EMFILE, "Too many open files")]

    async def values(record: RunRecord) -> bytes | None:
        if errors:
            raise errors.pop()
        return b"{}"

    storage = SpeechlessStorage()
    async with orphaned_runs(storage, "r1"):
        ends = looking(storage, values)
        assert [await ends.reconcile() for _ in range(4)] == [0, 0, 0, 0]
        await storage.clock.advance(60)
        assert [await ends.reconcile() for _ in range(2)] == [0, 1]


async def test_suspects_are_kept_while_the_database_is_unavailable() -> None:
    class Flaky(InMemoryLeaseStore):
        is_away = False

        async def list_ended_before(self, run_ids: Collection[RunId], before: datetime) -> Sequence[RunRecord]:
            if self.is_away:
                raise Away
            return await super().list_ended_before(run_ids, before)

    async def values(record: RunRecord) -> bytes | None:
        return b"{}"

    storage = SpeechlessStorage()
    leases = Flaky(storage.tables, storage.bell.notify)
    async with orphaned_runs(storage, "r1"):
        runtime = storage.runtime(limits=LIMITS, lease_store=leases)
        ends = OrphanedStreamReconciler(runtime, RunStreamService(runtime, values))
        assert await ends.reconcile() == 0
        leases.is_away = True
        for _ in range(3):
            with pytest.raises(Away):
                await ends.reconcile()
        leases.is_away = False
        assert await ends.reconcile() == 1


async def test_storage_failure_of_one_run_does_not_delay_others() -> None:
    async def values(record: RunRecord) -> bytes | None:
        if record.run_id == "r1":
            raise Away
        return b"{}"

    storage = SpeechlessStorage()
    async with orphaned_runs(storage, "r1", "r2"):
        ends = looking(storage, values)
        assert [await ends.reconcile() for _ in range(2)] == [0, 1]
        assert await storage.bridge.status("r1") is StreamStatus.OPEN
        assert await storage.bridge.status("r2") is StreamStatus.ENDED


async def test_run_retried_meanwhile_is_not_ended() -> None:
    storage = SpeechlessStorage()

    async def values(record: RunRecord) -> bytes | None:
        storage.tables.write(storage.tables.runs[RunId("r1")], status=RunStatus.PENDING, ended_at=None)
        return b"{}"

    async with orphaned_runs(storage, "r1"):
        ends = looking(storage, values)
        assert [await ends.reconcile() for _ in range(3)] == [0, 0, 0]
        assert await storage.bridge.status("r1") is StreamStatus.OPEN


async def test_reader_with_a_mode_filter_still_gets_the_values_after_a_gap() -> None:
    storage = SpeechlessStorage()
    async with storage.worker(limits=LIMITS) as runs:
        with acting(ALICE):
            await storage.end_unpublished(runs)
            stream = await runs.join_stream(RunId("r1"), last_event_id="-1", modes=["messages-tuple"])
            await storage.clock.advance(3 * TERM)
            items = await read(stream)
    assert [item.event for item in items if isinstance(item, StreamEvent)] == ["metadata", "gap", "values", "end"]


async def test_log_that_starts_with_a_gap_has_only_one_gap() -> None:
    storage = SpeechlessStorage()
    async with storage.worker(limits=LIMITS) as runs:
        with acting(ALICE):
            await storage.end_unpublished(runs)
            await storage.bridge.cleanup("r1")
            await storage.bridge.open("r1", 1)
            await storage.clock.advance(3 * TERM)
            items = await read(await runs.join_stream(RunId("r1"), last_event_id="-1"))
    assert [item.event for item in items if isinstance(item, StreamEvent)] == ["gap", "values", "end"]
