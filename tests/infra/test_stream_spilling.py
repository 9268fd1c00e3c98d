"""The memory stream bridge with files for events beyond its memory limit."""

from __future__ import annotations

import asyncio
import errno
import gc
import os
import stat
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from runstead.infra.stream_bridge.memory.blocks import Piece, encode
from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.memory.spilling import SpillSettings
from runstead.infra.stream_bridge.memory.spool import Spool
from runstead.runtime.stream_bridge.contract import (
    END_SENTINEL,
    HEARTBEAT_SENTINEL,
    ResumeResult,
    StreamEvent,
    StreamSubscription,
)
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, StreamNotFound
from runstead.testing.clock import ManualClock, turn
from runstead.testing.conformance.stream_reading import ids_of, read, read_to_end
from tests.infra.stream_suites import MemoryStreamSuite

T = TypeVar("T")
RUN = "run-1"
MIB = 1024 * 1024


class TestEverythingIsSpilled(MemoryStreamSuite):
    """Each event is written to a file immediately."""

    memory_bytes = 1


class TestSomeIsSpilled(MemoryStreamSuite):
    """A few events are in memory, the others in files."""

    memory_bytes = 2_500


class Disk(Spool):
    """A spool whose disk can be slow, full or broken, as the test decides."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, reserve=0)
        self.fault: OSError | None = None
        self.go_on = threading.Event()
        self.go_on.set()
        self.held: Callable[[str], bool] = lambda work: True
        """Predicate of the work that waits while ``go_on`` is not set."""

    def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
        def do() -> T:
            name = getattr(work, "func", work).__name__
            if self.held(name):
                assert self.go_on.wait(20)
            if self.fault is not None and name == "_write":
                raise self.fault
            return work()

        return super()._in(threads, do)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "streams")


@asynccontextmanager
async def bridge_on(
    spool: Spool, clock: ManualClock, *, memory: int = 10_000, most: int = 100 * MIB, **terms: Any
) -> AsyncIterator[MemoryStreamBridge]:
    terms = {"window_events": None, "window_bytes": 100 * MIB, **terms}
    spill = SpillSettings(memory_bytes=memory, disk_bytes=most, spool=spool)
    async with MemoryStreamBridge.running(MemoryStreamSettings(**terms), clock, spill) as bridge:
        try:
            yield bridge
        finally:
            if isinstance(spool, Disk):
                spool.go_on.set()


async def publish(bridge: MemoryStreamBridge, count: int, size: int = 100, run_id: str = RUN) -> list[str]:
    return [await bridge.publish(run_id, "messages", b"%0*d" % (size, number), attempt=1) for number in range(count)]


async def until(look: Callable[[], bool]) -> None:
    """Real time: for the work of threads."""
    async with asyncio.timeout(60):
        while not look():  # noqa: ASYNC110 - threads do not notify
            await asyncio.sleep(0.002)


async def written(bridge: MemoryStreamBridge, memory: int = 10_000) -> None:
    await until(lambda: bridge.bytes_in_memory <= memory)


def files_in(spool: Spool) -> list[Path]:
    return sorted(spool.directory.iterdir()) if spool.directory.exists() else []


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


def gap_of(subscription: StreamSubscription) -> tuple[str, int | None]:
    return subscription.resumed.status, subscription.resumed.gap_count


def test_block_round_trips() -> None:
    events = [
        StreamEvent("1-9", "messages|child\n:\ud800", b'{"a":1}'),
        StreamEvent("1-10", "values", b""),
        StreamEvent("2-1", "messages|child\n:\ud800", b"\x00" * 70_000),
    ]
    piece = Piece(7, encode(events))
    assert (piece.first, piece.count, piece.end) == (7, 3, 10)
    assert piece.take(7, 10) == events
    assert piece.take(8, 1) == events[1:2]
    end = [StreamEvent("2-2", "error", b"{}", terminal="error")]
    assert Piece(0, encode(end)).take(0, 1) == end
    for damaged in (b"", encode(events)[:-1], encode(events)[:20], b"\xff" * 100, encode(events) + b"x"):
        with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it
            Piece(0, damaged)


async def test_finished_run_is_fully_readable_with_bounded_memory(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock, memory=200_000) as bridge:
        await bridge.open(RUN)
        tracemalloc.start()
        try:
            ids = await publish(bridge, 12_000, size=1_000)
            ids.append(await bridge.publish_end(RUN))
            await written(bridge, 200_000)
            gc.collect()
            assert tracemalloc.get_traced_memory()[0] < 12_000 * 1_000 / 4
        finally:
            tracemalloc.stop()
        assert bridge.bytes_on_disk > 11_000_000
        for last_event_id, start in (("-1", 0), ("1-1", 1), ("1-6000", 6_000), ("1-11999", 11_999)):
            subscription = await bridge.subscribe(RUN, last_event_id)
            assert subscription.resumed.status == "resumed"
            items = await read_to_end(subscription)
            assert ids_of(items) == ids[start:]
            assert items[-1] is END_SENTINEL


async def test_files_are_private_to_their_owner(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        await publish(bridge, 1_000)
        await written(bridge)
        assert stat.S_IMODE(disk.directory.stat().st_mode) == 0o700
        modes = {stat.S_IMODE(file.stat().st_mode) for file in files_in(disk)}
        assert modes == {0o600}


async def test_files_are_deleted_with_their_log(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock, retention=100) as bridge:
        for run_id in ("expires", "deleted", "stays"):
            await bridge.open(run_id)
            await publish(bridge, 1_000, run_id=run_id)
        await bridge.publish_end("expires")
        await bridge.publish_end("deleted")
        await written(bridge)
        assert len(files_in(disk)) == 3
        await bridge.cleanup("deleted")
        await until(lambda: len(files_in(disk)) == 2)
        await clock.advance(101)
        await until(lambda: len(files_in(disk)) == 1)
        assert await bridge.status("expires") is None
        on_disk = bridge.bytes_on_disk
        assert on_disk == sum(file.stat().st_size for file in files_in(disk))
    assert files_in(disk) == []
    assert bridge.bytes_on_disk == 0


async def test_files_of_a_process_that_was_killed_are_deleted_at_the_next_start(
    clock: ManualClock, disk: Disk, tmp_path: Path
) -> None:
    disk.directory.mkdir()
    (disk.directory / "1.events").write_bytes(b"old")
    (disk.directory / "deep").mkdir()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"not ours")
    (disk.directory / "2.events").symlink_to(elsewhere)
    async with bridge_on(disk, clock) as bridge:
        assert files_in(disk) == []
        await bridge.open(RUN)
        ids = await publish(bridge, 1_000)
        await written(bridge)
        assert ids_of(await read_many(await bridge.subscribe(RUN, "-1"), 1_000)) == ids
    assert elsewhere.read_bytes() == b"not ours"


async def read_many(subscription: StreamSubscription, count: int) -> list[Any]:
    items: list[Any] = []
    while len(items) < count:
        items += await read(subscription)
    return items


async def test_reader_of_deleted_files_reads_to_their_end(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 5_000)
        ids.append(await bridge.publish_end(RUN))
        await written(bridge)
        before = open_files()
        subscription = await bridge.subscribe(RUN, "-1")
        first = ids_of(await read(subscription))
        await bridge.cleanup(RUN)
        await until(lambda: files_in(disk) == [])
        assert first + ids_of(await read_to_end(subscription)) == ids
        del subscription
        gc.collect()
        await turn()
        gc.collect()
        assert open_files() <= before


async def test_close_lets_readers_read_spilled_events_first(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 3_000)
        await written(bridge)
        subscription = await bridge.subscribe(RUN, "-1")
        await bridge.close()
        assert files_in(disk) == []
        assert ids_of(await read_many(subscription, 3_000)) == ids
        with pytest.raises(BridgeClosed):
            await read(subscription)


async def test_slow_disk_stops_neither_live_readers_nor_heartbeats(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 1_000)
        await written(bridge)
        behind = await bridge.subscribe(RUN, "-1", heartbeat_interval=5)
        live = await bridge.subscribe(RUN, ids[-1])
        disk.held = lambda work: work == "read"
        disk.go_on.clear()
        reading = asyncio.create_task(behind.read())
        await turn()
        for _ in range(20):
            published = await publish(bridge, 1)
            assert ids_of(await read(live)) == published
        assert not reading.done()
        await clock.advance(5.1)
        assert list(await reading) == [HEARTBEAT_SENTINEL]
        disk.go_on.set()
        assert ids_of(await read_many(behind, 1_020))[:1_000] == ids


async def test_full_disk_drops_oldest_events_and_reports_a_gap(
    clock: ManualClock, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    disk.fault = OSError(errno.ENOSPC, "No space left on device")
    async with bridge_on(disk, clock, memory=100_000) as bridge:
        await bridge.open(RUN)
        early = await bridge.subscribe(RUN, "-1")
        await read_nothing(early)
        ids = []
        for _ in range(30):
            ids += await publish(bridge, 100)
            await asyncio.sleep(0.001)
        ids.append(await bridge.publish_end(RUN))
        assert bridge.bytes_in_memory <= 125_000
        late = await bridge.subscribe(RUN, "-1")
        kept = ids_of(await read_to_end(late))
        assert 100 < len(kept) < len(ids)
        assert kept == ids[-len(kept) :]
        assert gap_of(late) == ("evicted", len(ids) - len(kept))
        assert ids_of(await read_to_end(early)) == kept
        assert gap_of(early) == ("evicted", len(ids) - len(kept))
        assert [record.message for record in caplog.records if "not written" in record.message] == [
            f"events of streams are not written to {disk.directory}, the oldest ones are dropped: "
            "[Errno 28] No space left on device"
        ]
        # It is retried later, and then nothing is lost.
        disk.fault = None
        await clock.advance(11)
        await bridge.open("later")
        more = await publish(bridge, 5_000, run_id="later")
        await written(bridge, 100_000)
        assert ids_of(await read_many(await bridge.subscribe("later", "-1"), 5_000)) == more
        assert "written to disk again" in caplog.text


async def read_nothing(subscription: StreamSubscription) -> None:
    reading = asyncio.create_task(subscription.read())
    await turn()
    reading.cancel()
    await asyncio.gather(reading, return_exceptions=True)


async def test_full_disk_evicts_ended_logs_before_dropping_live_events(clock: ManualClock, disk: Disk) -> None:
    disk.fault = OSError(errno.ENOSPC, "No space left on device")
    async with bridge_on(disk, clock, memory=200_000) as bridge:
        await bridge.open("running")
        ids = await publish(bridge, 300, run_id="running")
        for number in range(20):
            await bridge.open(f"ended-{number}")
            await publish(bridge, 100, run_id=f"ended-{number}")
            await bridge.publish_end(f"ended-{number}")
            await asyncio.sleep(0.001)
        assert await bridge.status("ended-0") is None
        assert await bridge.status("ended-19") is not None
        assert ids_of(await read_many(await bridge.subscribe("running", "-1"), 300)) == ids


async def test_low_disk_space_is_not_used(clock: ManualClock, tmp_path: Path) -> None:
    spool = Spool(tmp_path / "streams", reserve=2**62)
    async with bridge_on(spool, clock) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 1_000)
        await until(lambda: bridge.bytes_in_memory <= 12_500)
        assert files_in(spool) == []
        subscription = await bridge.subscribe(RUN, "-1")
        assert ids_of(await read(subscription))[-1] == ids[-1]
        assert subscription.resumed.status == "evicted"


async def test_uncreatable_spool_directory_falls_back_to_memory(
    clock: ManualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_bytes(b"")
    async with bridge_on(Spool(tmp_path / "file" / "streams"), clock) as bridge:
        await bridge.open(RUN)
        await publish(bridge, 1_000)
        assert bridge.bytes_in_memory <= 12_500
        assert ids_of(await read(await bridge.subscribe(RUN, "-1")))[-1] == "1-1000"
    assert "kept in memory only" in caplog.text


async def test_disk_slower_than_the_run_delays_it_and_loses_nothing(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        disk.go_on.clear()
        publishing = asyncio.create_task(publish(bridge, 1_000))
        await turn(200)
        assert not publishing.done()
        disk.go_on.set()
        ids = await publishing
        assert ids_of(await read_many(await bridge.subscribe(RUN, "-1"), 1_000)) == ids


async def test_hanging_disk_delays_the_run_for_a_second_then_drops_events(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        disk.go_on.clear()
        publishing = asyncio.create_task(publish(bridge, 1_000))
        await turn(200)
        assert not publishing.done()
        await clock.advance(1.1)
        ids = await publishing
        late = await bridge.subscribe(RUN, "-1")
        kept = ids_of(await read(late))
        assert kept == ids[-len(kept) :]
        assert gap_of(late) == ("evicted", 1_000 - len(kept))
        disk.go_on.set()


@pytest.mark.parametrize("damage", ["deleted", "shortened", "overwritten"])
async def test_damaged_file_is_a_gap_and_no_error(clock: ManualClock, disk: Disk, damage: str) -> None:
    async with bridge_on(disk, clock) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 1_000)
        await written(bridge)
        (file,) = files_in(disk)
        if damage == "deleted":
            file.unlink()
        elif damage == "shortened":
            os.truncate(file, 100)
        else:
            file.write_bytes(b"\xff" * file.stat().st_size)
        ids.append(await bridge.publish_end(RUN))
        subscription = await bridge.subscribe(RUN, "-1")
        kept = ids_of(await read_to_end(subscription))
        assert kept == ids[-len(kept) :]
        assert gap_of(subscription) == ("evicted", len(ids) - len(kept))


async def test_large_terminal_event_is_spilled_and_read_from_disk(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock) as bridge:
        for number in range(10):
            await bridge.open(f"run-{number}")
            await bridge.publish(f"run-{number}", "values", b"1")
            await bridge.publish_terminal(f"run-{number}", "end", b'"%0*d"' % (50_000, number))
        await written(bridge)
        for number in range(10):
            *_, end, sentinel = await read_to_end(await bridge.subscribe(f"run-{number}", "-1"))
            assert end == StreamEvent("1-2", "end", b'"%0*d"' % (50_000, number), terminal="end")
            assert sentinel is END_SENTINEL
            live = await read_to_end(await bridge.subscribe(f"run-{number}", "$"))
            assert ids_of(live) == ["1-2"]
            assert await bridge.publish_end(f"run-{number}") == "1-2"
        # Without its end a log has no result: the run's record does.
        for file in files_in(disk):
            file.unlink()
        with pytest.raises(StreamNotFound):
            await read_to_end(await bridge.subscribe("run-0", "$"))


async def test_files_stay_within_the_disk_limit(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock, most=1_000_000) as bridge:
        run_ids = [f"run-{number}" for number in range(50)]
        for run_id in run_ids:
            await bridge.open(run_id)
            await publish(bridge, 100, size=1_000, run_id=run_id)
            await bridge.publish_end(run_id)
            await written(bridge)
        left = [run_id for run_id in run_ids if await bridge.status(run_id) is not None]
        assert left == run_ids[-len(left) :]
        assert 5 <= len(left) <= 10
        await until(lambda: sum(file.stat().st_size for file in files_in(disk)) <= 1_000_000)
        for run_id in left:
            assert len(await read_to_end(await bridge.subscribe(run_id, "-1"))) == 102


async def test_running_log_larger_than_the_disk_limit_drops_oldest_events(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock, memory=100_000, most=40 * MIB) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 600, size=100_000)
        await written(bridge, 100_000)
        assert bridge.bytes_on_disk <= 40 * MIB
        subscription = await bridge.subscribe(RUN, "-1")
        kept = ids_of(await read_many(subscription, 600 - (subscription.resumed.gap_count or 0)))
        assert kept == ids[-len(kept) :]
        assert len(kept) > 200


async def test_window_removes_old_files(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock, memory=MIB, window_bytes=40 * MIB) as bridge:
        await bridge.open(RUN)
        ids = await publish(bridge, 1_200, size=100_000)
        await written(bridge, MIB)
        subscription = await bridge.subscribe(RUN, "-1")
        missed = subscription.resumed.gap_count
        assert subscription.resumed == ResumeResult("evicted", "-1", ids[missed or 0], missed)
        kept = ids_of(await read_many(subscription, 1_200 - (missed or 0)))
        assert kept == ids[-len(kept) :]
        assert 39 * MIB < len(kept) * 100_000 <= 40 * MIB
        await until(lambda: sum(file.stat().st_size for file in files_in(disk)) <= 60 * MIB)


async def test_many_ended_runs_use_no_more_memory_than_a_few(clock: ManualClock, disk: Disk) -> None:
    async with bridge_on(disk, clock, memory=300_000, most=10 * MIB) as bridge:

        async def end_runs(first: int, last: int) -> None:
            for number in range(first, last):
                await bridge.open(f"run-{number}")
                await bridge.publish(f"run-{number}", "values", b"x" * 3_000)
                await bridge.publish_terminal(f"run-{number}", "end", b'"' + b"x" * 10_000 + b'"')
                if number % 50 == 0:
                    await clock.advance(0)
            await written(bridge, 300_000)
            gc.collect()

        tracemalloc.start()
        try:
            await end_runs(0, 200)
            few = tracemalloc.get_traced_memory()[0]
            await end_runs(200, 1_200)
            many = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
        # A log with its events on disk takes a few kilobytes; logs and files are bounded by number.
        assert (many - few) / 1_000 < 5_000
        await until(lambda: len(files_in(disk)) <= 10 * MIB / 13_000 + 1)
