"""Law 5: ids on a stream strictly increase and are never reused; a resume from any id loses and repeats nothing;
when the window has passed, the reader gets a gap, never silence. Law 4: exactly one terminal event, the last on its
stream.

Random scenarios of a stream are compared with a model that is a plain list: with the log in memory, and in files.
"""

from __future__ import annotations

import asyncio
import errno
import os
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runstead.infra.stream_bridge.memory.bridge import MemoryStreamBridge, MemoryStreamSettings
from runstead.infra.stream_bridge.memory.spilling import SpillSettings
from runstead.infra.stream_bridge.memory.spool import Spool, SpoolFile
from runstead.runtime.stream_bridge.contract import (
    LIVE,
    ResumeResult,
    Sentinel,
    StreamEvent,
    StreamItem,
    StreamSubscription,
    TerminalKind,
)
from runstead.runtime.stream_bridge.exceptions import StaleAttempt, StreamNotFound, StreamTerminated
from runstead.testing.clock import ManualClock

T = TypeVar("T")
RUN = "run-1"
WINDOW_EVENTS, WINDOW_BYTES = 6, 60


@dataclass
class Reader:
    """The model of one reader: its position in the list, and its received events."""

    subscription: StreamSubscription
    place: int
    resumed: ResumeResult
    last_id: str | None
    missed: int | None
    ended: bool = False


@dataclass
class Log:
    """A stream as a plain list of all events ever published to it."""

    attempt: int
    events: list[StreamEvent] = field(default_factory=list)
    first: int = 0
    seq: int = 0
    terminal: StreamEvent | None = None

    def add(self, name: str, data: bytes, kind: TerminalKind | None = None) -> StreamEvent:
        self.seq += 1
        event = StreamEvent(f"{self.attempt}-{self.seq}", name, data, kind)
        if kind:
            self.terminal = event
            return event
        self.events.append(event)
        while self.first < len(self.events) - 1 and not self._fits(self.events[self.first :]):
            self.first += 1
        return event

    @staticmethod
    def _fits(events: Sequence[StreamEvent]) -> bool:
        return len(events) <= WINDOW_EVENTS and sum(len(event.data) for event in events) <= WINDOW_BYTES

    @property
    def everything(self) -> list[StreamEvent]:
        return self.events + ([self.terminal] if self.terminal else [])

    @property
    def oldest(self) -> str | None:
        kept = self.everything[self.first :]
        return kept[0].id if kept else None

    def start(self, asked: str | None) -> tuple[int, ResumeResult]:
        ids = [event.id for event in self.everything]
        if asked is None or asked == LIVE:
            return (self.first if asked is None else len(self.events)), ResumeResult("fresh", asked, self.oldest)
        if asked in ("-1", "0-0"):
            return self.first, ResumeResult("evicted" if self.first else "resumed", asked, self.oldest, self.first)
        if asked in ids:
            place = ids.index(asked) + 1
            if place < self.first:
                return self.first, ResumeResult("evicted", asked, self.oldest, self.first - place)
            return place, ResumeResult("resumed", asked, self.oldest)
        lowest = int(ids[0].split("-")[0]) if ids else self.attempt
        well_formed = re.fullmatch("([1-9][0-9]*)-[1-9][0-9]*", asked)
        if well_formed and int(well_formed[1]) < lowest:
            return self.first, ResumeResult("evicted", asked, self.oldest, None)
        return self.first, ResumeResult("invalid", asked, self.oldest, self.first)


class Play:
    """One random scenario of one stream: each method applies an action to the bridge and the model, and compares."""

    def __init__(self, bridge: MemoryStreamBridge, clock: ManualClock) -> None:
        self.bridge, self.clock = bridge, clock
        self.log: Log | None = None
        self.readers: list[Reader] = []
        self.past_ids: list[str] = []

    async def open(self, step: int) -> None:
        attempt = (self.log.attempt if self.log else 0) + step
        await self.bridge.open(RUN, max(attempt, 1))
        if self.log is None:
            self.log = Log(max(attempt, 1))
        elif self.log.terminal is None and attempt > self.log.attempt:
            self.log.attempt, self.log.seq = attempt, 0

    async def publish(self, size: int, behind: int) -> None:
        data = b"x" * size
        if self.log is None:
            with pytest.raises(StreamNotFound):
                await self.bridge.publish(RUN, "values", data)
            return
        attempt = self.log.attempt - behind
        if self.log.terminal:
            with pytest.raises(StreamTerminated):
                await self.bridge.publish(RUN, "values", data, attempt=attempt)
        elif behind:
            with pytest.raises(StaleAttempt):
                await self.bridge.publish(RUN, "values", data, attempt=attempt)
        else:
            event_id = await self.bridge.publish(RUN, "values", data, attempt=attempt)
            self._published(event_id, self.log.add("values", data))
            # With files, each event has been written to one before the next action.
            while self.bridge.bytes_in_memory:  # noqa: ASYNC110 - the disk does not notify
                await asyncio.sleep(0)

    async def end(self, kind: TerminalKind) -> None:
        if self.log is None:
            return
        event_id = await self.bridge.publish_terminal(RUN, kind, b"null", attempt=self.log.attempt)
        if self.log.terminal:
            assert event_id == self.log.terminal.id
        else:
            self._published(event_id, self.log.add(kind, b"null", kind))

    def _published(self, event_id: str, event: StreamEvent) -> None:
        assert event_id == event.id
        assert all(order_of(event_id) > order_of(earlier.id) for earlier in self.log_events()[:-1])
        self.past_ids.append(event_id)

    def log_events(self) -> list[StreamEvent]:
        assert self.log is not None
        return self.log.everything

    async def subscribe(self, asked: str | int | None) -> None:
        if isinstance(asked, int):
            asked = self.past_ids[asked % len(self.past_ids)] if self.past_ids else "1-1"
        if self.log is None:
            with pytest.raises(StreamNotFound):
                await self.bridge.subscribe(RUN, asked)
            return
        subscription = await self.bridge.subscribe(RUN, asked)
        place, resumed = self.log.start(asked)
        assert subscription.resumed == resumed
        known = resumed.status in ("resumed", "evicted")
        missed = resumed.gap_count if resumed.status == "evicted" else 0
        self.readers.append(Reader(subscription, place, resumed, asked if known else None, missed))

    async def read(self, which: int) -> None:
        if self.readers and self.log:
            reader = self.readers[which % len(self.readers)]
            if reader.ended or reader.place < len(self.log.everything) or self.log.terminal:
                await self.check_read(reader, self.log)

    async def check_read(self, reader: Reader, log: Log) -> None:
        if not reader.ended and reader.place < log.first:
            if reader.missed is not None:
                reader.missed += log.first - reader.place
            reader.resumed = ResumeResult("evicted", reader.last_id, log.oldest, reader.missed)
            reader.place = log.first
        expected: list[StreamItem] = [] if reader.ended else list(log.everything[reader.place :])
        if log.terminal and not reader.ended:
            expected.append(Sentinel.CANCELLED if log.terminal.terminal == "cancel" else Sentinel.END)
            reader.ended = True
        async with asyncio.timeout(60):
            assert list(await reader.subscription.read()) == expected
        assert reader.subscription.resumed == reader.resumed
        if reader.place < len(log.everything):
            reader.place, reader.last_id, reader.missed = len(log.everything), log.everything[-1].id, 0

    async def leave(self, which: int) -> None:
        if self.readers:
            reader = self.readers.pop(which % len(self.readers))
            await reader.subscription.aclose()
            assert list(await reader.subscription.read()) == []

    async def lose(self) -> None:
        """The log is lost, as after a crash, with its readers; its ids are still known to clients."""
        if self.log is None:
            return
        await self.finish()
        await self.bridge.cleanup(RUN)
        lost, self.log, self.readers = self.log, None, []
        # A later owner knows the run's attempt from its row.
        await self.open(lost.attempt + 1)

    async def finish(self) -> None:
        """All remaining readers read to the end, and have then missed only reported events."""
        await self.end("end")
        for reader in self.readers:
            assert self.log is not None
            await self.check_read(reader, self.log)
            assert list(await reader.subscription.read()) == []


def order_of(event_id: str) -> tuple[int, ...]:
    return tuple(int(part) for part in event_id.split("-"))


ASKED = (
    st.none() | st.sampled_from(["-1", "0-0", LIVE, "garbage", "1-0", "7-7", "1-100", "99-1", ""]) | st.integers(0, 200)
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.integers(0, 12), st.just(0)),
        st.tuples(st.just("publish"), st.sampled_from([0, 59, 60, 61, 200]), st.sampled_from([0, 0, 1, 2])),
        st.tuples(st.just("subscribe"), ASKED),
        st.tuples(st.just("read"), st.integers(0, 9)),
        st.tuples(st.just("open"), st.integers(-2, 3)),
        st.tuples(st.just("leave"), st.integers(0, 9)),
        st.tuples(st.just("end"), st.sampled_from(["end", "error", "cancel"])),
        st.tuples(st.just("lose")),
    ),
    max_size=60,
)


class DiceDisk(Spool):
    """Files without threads: work is done immediately, its completion is reported some turns later, and writes may
    fail.
    """

    def __init__(self, directory: Path, dice: random.Random, faults: float = 0) -> None:
        super().__init__(directory, reserve=0)
        self._dice, self._faults = dice, faults
        self._tasks: set[asyncio.Task[None]] = set()

    def delete(self, file: SpoolFile, *, is_read: bool) -> None:
        file.delete(is_read=is_read)

    def _in(self, threads: ThreadPoolExecutor, work: Callable[[], T]) -> asyncio.Future[T]:
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        fault = result = None
        try:
            if getattr(work, "func", None) == self._write and self._dice.random() < self._faults:
                raise OSError(errno.ENOSPC, "No space left on device")
            result = work()
        except OSError as error:
            fault = error

        async def tell() -> None:
            for _ in range(self._dice.choice([0, 0, 1, 5])):
                await asyncio.sleep(0)
            if not done.done():
                done.set_exception(fault) if fault else done.set_result(result)  # type: ignore[arg-type]

        task = asyncio.create_task(tell())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return done


def lives(directory: Path | None, steps: list[tuple[str, ...]]) -> None:
    """Run with a log in memory, or in files in this directory."""

    async def play() -> None:
        clock = ManualClock()
        terms = MemoryStreamSettings(window_events=WINDOW_EVENTS, window_bytes=WINDOW_BYTES)
        spill = None
        if directory is not None:
            spill = SpillSettings(memory_bytes=1, spool=DiceDisk(directory, random.Random(len(steps))))
        async with MemoryStreamBridge.running(terms, clock, spill) as bridge:
            life = Play(bridge, clock)
            await life.open(1)
            for name, *arguments in steps:
                await getattr(life, name)(*arguments)
            await life.finish()

    asyncio.run(play())


LONG = os.environ.get("RUNSTEAD_LONG") == "1"


@settings(max_examples=6_000 if LONG else 2_000)
@given(steps=STEPS)
def test_readers_get_the_events_of_a_list_model(steps: list[tuple[str, ...]]) -> None:
    lives(None, steps)


@settings(max_examples=2_000 if LONG else 300)
@given(steps=STEPS)
def test_readers_get_the_events_of_a_list_model_from_files(steps: list[tuple[str, ...]]) -> None:
    with TemporaryDirectory() as directory:
        lives(Path(directory) / "streams", steps)


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32))
def test_concurrent_reconnecting_readers_miss_only_reported_events(seed: int) -> None:
    """Publisher and readers are tasks; reads are cancelled, and readers disconnect and resume with their last id."""
    dice = random.Random(seed)
    run_beside(seed, dice, MemoryStreamSettings(window_events=dice.choice([3, 10, 1_000])), None)


@settings(max_examples=400 if LONG else 60)
@given(seed=st.integers(0, 2**32))
def test_readers_on_a_slow_or_full_disk_miss_only_reported_events(seed: int) -> None:
    """The same, with files that events move to while they are read, sometimes with failures."""
    dice = random.Random(seed)
    terms = MemoryStreamSettings(
        window_events=dice.choice([3, 10, 1_000, None]),
        window_bytes=dice.choice([100, 10_000]),
    )
    with TemporaryDirectory() as directory:
        disk = DiceDisk(Path(directory) / "streams", dice, dice.choice([0, 0, 0.1, 0.5, 1]))
        memory, most = dice.choice([1, 500, 3_000, 20_000]), dice.choice([0, 2_000, 10**6, 10**6])
        run_beside(seed, dice, terms, SpillSettings(memory, most, disk))


def run_beside(seed: int, dice: random.Random, terms: MemoryStreamSettings, spill: SpillSettings | None) -> None:
    async def play() -> None:
        clock = ManualClock()
        async with MemoryStreamBridge.running(terms, clock, spill) as bridge:
            await bridge.open(RUN)
            published: list[str] = []
            readers = [asyncio.create_task(follow(bridge, random.Random(seed + number))) for number in range(4)]
            attempt = 1
            for number in range(200):
                if dice.random() < 0.02:
                    attempt += dice.randint(1, 2)
                    await bridge.open(RUN, attempt)
                published.append(await bridge.publish(RUN, "values", b"%d" % number, attempt=attempt))
                for _ in range(dice.choice([0, 0, 0, 1, 5])):
                    await asyncio.sleep(0)
                if spill is not None and dice.random() < 0.05:
                    # Writing to a failed disk is retried.
                    await clock.advance(11)
            published.append(await bridge.publish_end(RUN, attempt=attempt))
            assert published == sorted(set(published), key=order_of)
            async with asyncio.timeout(60):
                followed = await asyncio.gather(*readers)
        for given_to_reader in followed:
            check_against(published, given_to_reader)

    asyncio.run(play())


async def follow(bridge: MemoryStreamBridge, dice: random.Random) -> list[str | int]:
    """Read a stream to its end in random steps: return the ids, with the sizes of reported gaps in their positions."""
    seen: list[str | int] = []
    last_id: str | None = "-1"
    while True:
        subscription = await bridge.subscribe(RUN, last_id)
        told: ResumeResult | None = None
        while dice.random() < 0.9:
            reading = asyncio.create_task(subscription.read())
            if dice.random() < 0.3:
                await asyncio.sleep(0)
                reading.cancel()
            items: Sequence[StreamItem] | None = None
            with suppress(asyncio.CancelledError):
                items = await reading
            if items is None:
                continue
            if subscription.resumed is not told:
                told = subscription.resumed
                assert told.status in ("resumed", "evicted")
                if told.status == "evicted":
                    assert told.gap_count
                    seen.append(told.gap_count)
            for item in items:
                if isinstance(item, StreamEvent):
                    seen.append(item.id)
                    last_id = item.id
            if not items or isinstance(items[-1], Sentinel):
                return seen
            for _ in range(dice.choice([0, 0, 2, 20])):
                await asyncio.sleep(0)
        await subscription.aclose()


def check_against(published: list[str], seen: list[str | int]) -> None:
    place = 0
    for entry in seen:
        if isinstance(entry, int):
            place += entry
        else:
            assert entry == published[place]
            place += 1
    assert place == len(published)
