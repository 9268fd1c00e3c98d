"""Servers make the passes of retention in turns: one at a time, each from where the last one stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from runstead.bootstrap.retention import RetentionRounds
from runstead.infra.engines.sqlite import SqliteDatabase
from runstead.infra.storage.sqlite import open_storage
from runstead.infra.storage.sweeps import SqlSweep
from runstead.resources.retention import RetentionReport
from runstead.runtime.pace import Pace
from runstead.runtime.runs.types import ThreadId
from runstead.testing.clock import ManualClock
from tests.servers.sqlite import current


class CountedPass:
    """A pass over ten threads, each of which takes ``seconds``."""

    def __init__(self, clock: ManualClock, seconds: float = 0.0) -> None:
        self._clock, self._seconds = clock, seconds
        self.seen: list[str] = []
        self.stuck_at: str | None = None
        self.is_stuck = asyncio.Event()

    async def threads(self, after: ThreadId | None) -> AsyncGenerator[tuple[ThreadId, RetentionReport]]:
        for name in "abcdefghij":
            if after is None or name > after:
                if name == self.stuck_at:
                    self.is_stuck.set()
                    await asyncio.Event().wait()
                await self._clock.advance(self._seconds)
                self.seen.append(name)
                yield ThreadId(name), RetentionReport(threads=1, checkpoints=2)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[SqliteDatabase]:
    async with open_storage(current(tmp_path / "runstead.db")) as opened:
        yield opened


def rounds_of(database: SqliteDatabase, clock: ManualClock, done: CountedPass) -> RetentionRounds:
    return RetentionRounds(done, SqlSweep(database, clock, "retention"), clock)


async def test_pass_is_made_once_an_hour_by_one_of_two_nodes(database: SqliteDatabase) -> None:
    clock = ManualClock()
    done = CountedPass(clock)
    nodes = [rounds_of(database, clock, done) for _ in range(2)]
    await asyncio.gather(*(node.round() for node in nodes))
    assert done.seen == list("abcdefghij")
    await clock.advance(3_599)
    for node in nodes:
        await node.round()
    assert len(done.seen) == 10
    await clock.advance(1)
    for node in nodes:
        await node.round()
    assert len(done.seen) == 20


async def test_pass_continues_on_another_node_when_the_time_of_a_round_is_over(database: SqliteDatabase) -> None:
    clock = ManualClock()
    done = CountedPass(clock, seconds=20)
    nodes = [rounds_of(database, clock, done) for _ in range(2)]
    await nodes[0].round()
    assert done.seen == ["a", "b", "c"]
    for node in (nodes[1], nodes[0], nodes[1]):
        await node.round()
    assert done.seen == list("abcdefghij")
    progress = await SqlSweep(database, clock, "retention").progress()
    assert progress is not None
    assert progress.deleted["checkpoints"] == 20


async def test_pass_continues_at_its_place_after_a_stop_and_after_a_kill(database: SqliteDatabase) -> None:
    clock = ManualClock()
    done = CountedPass(clock, seconds=1)
    done.stuck_at = "e"
    stopped = asyncio.create_task(rounds_of(database, clock, done).round())
    await done.is_stuck.wait()
    stopped.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopped
    killed = SqlSweep(database, clock, "retention")
    # Its process ends between two records, so that nothing releases the pass.
    progress = await killed.claim()
    assert progress is not None
    assert progress.position == "d"
    assert await killed.advance("f", {"checkpoints": 12})
    done.stuck_at = None
    await rounds_of(database, clock, done).round()
    assert done.seen == ["a", "b", "c", "d"]
    await clock.advance(timedelta(seconds=120))
    await rounds_of(database, clock, done).round()
    assert done.seen == list("abcdghij")
    # The process that was thought to be killed can no longer change anything.
    assert not await killed.advance("z", {})


async def test_step_is_followed_by_a_pause_in_proportion_to_its_duration() -> None:
    clock = ManualClock()
    pace = Pace(clock, 0.1)
    stepping = asyncio.create_task(pace.step(clock.sleep(0.02)))
    await clock.advance(0.02)
    await clock.advance(0.17)
    assert not stepping.done()
    await clock.advance(0.02)
    assert stepping.done()
