"""User code that blocks its loop is reported, with its location and its run."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import time
from collections.abc import Iterator

import pytest

from runstead.runtime.user_code.scope import UserWork, WorkScope
from runstead.runtime.user_code.thread_loop import ThreadLoop
from runstead.runtime.user_code.watchdog import PERIOD, LoopWatchdog, WatchdogOptions

WORK = UserWork("run", "agent", "r-1", "t-1")


class Watched:
    """A loop, checked on a manual clock."""

    def __init__(self, lost_after: float = 60.0) -> None:
        self.thread_loop = ThreadLoop("watched")
        self.lost: list[WorkScope | None] = []
        options = WatchdogOptions(
            is_user_code=lambda filename: filename == __file__, node_in=lambda _: "node", lost_after=lost_after
        )
        self.watchdog = LoopWatchdog(self, lambda _, culprit: self.lost.append(culprit), options)
        self._now = time.monotonic()
        self._release, self._begun = threading.Event(), threading.Event()

    def look(self, seconds: float) -> None:
        """Check as often as the watchdog does in this time."""
        for _ in range(round(seconds / PERIOD)):
            self._now += PERIOD
            self.watchdog.look(self._now)

    def stand_still(self, seconds: float) -> None:
        """Check once, after a time in which the whole process was suspended."""
        self._now += seconds
        self.watchdog.look(self._now)

    def block(self) -> None:
        """Let user code block the loop until `unblock`."""
        self._release.clear()
        self._begun.clear()

        async def blocks() -> None:
            self._begun.set()
            self._release.wait(30)

        self._task = self.thread_loop.submit(blocks, WorkScope(WORK))
        assert self._begun.wait(10)

    def unblock(self) -> None:
        self._release.set()
        assert self._task.settle(10)


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.thread_loop.close()


def logged(caplog: pytest.LogCaptureFixture) -> list[str]:
    # Not asyncio's: tasks left by other tests are collected at any time.
    ours = [record for record in caplog.records if record.name.startswith("runstead.")]
    return [record.getMessage() for record in ours if record.levelno >= logging.WARNING]


def test_block_is_logged_and_counted_once_with_location_and_run(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    watched.block()
    watched.look(1.0)
    assert logged(caplog) == []
    watched.unblock()
    watched.look(0.1)
    (line,) = logged(caplog)
    assert line.startswith("user code blocked its event loop for 1.0")
    assert "run graph_id=agent run_id=r-1 thread_id=t-1 node=node at " in line
    assert f"{__file__}:" in line
    assert "in Watched.block.<locals>.blocks" in line
    assert '"agent_isolation": "run" for graph \'agent\'' in line
    count = watched.watchdog.count
    assert count.blocks == 1
    assert count.seconds == pytest.approx(1.0, abs=PERIOD)
    assert count.last is not None
    assert (count.last.work, count.last.node) == (WORK, "node")


def test_long_block_is_logged_while_it_lasts(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.block()
    watched.look(20.0)
    (line,) = logged(caplog)
    assert line.startswith("user code still blocks its event loop after 5")
    watched.unblock()
    watched.look(0.1)
    assert len(logged(caplog)) == 2
    assert watched.watchdog.count.blocks == 1


def test_short_callbacks_and_an_idle_loop_are_no_block(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    watched.look(2.0)
    for _ in range(10):
        watched.block()
        watched.look(0.15)
        watched.unblock()
    watched.look(0.1)
    assert logged(caplog) == []
    assert watched.watchdog.count.blocks == 0


def test_suspended_process_does_not_count_as_a_lost_loop(watched: Watched) -> None:
    """It was suspended in the middle of a callback, like a closed laptop."""
    watched.block()
    watched.look(0.1)
    for _ in range(5):
        watched.stand_still(1_000)
    assert watched.lost == []
    watched.unblock()


def test_unresponsive_loop_is_reported_lost_once(watched: Watched) -> None:
    watched.block()
    watched.look(59)
    assert watched.lost == []
    watched.look(10)
    (culprit,) = watched.lost
    assert culprit is not None
    assert culprit.work == WORK
    watched.unblock()


def test_watchdog_runs_by_itself_with_little_cpu_time() -> None:
    watched = Watched()

    async def blocks() -> None:
        time.sleep(0.6)  # noqa: ASYNC251

    with watched.watchdog.running() as count:
        before = time.thread_time()
        assert watched.thread_loop.submit(blocks).settle(10)
        deadline = time.monotonic() + 10
        while not count.blocks and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.thread_time() - before < 1
    assert count.blocks == 1
    assert count.seconds > 0.4
    watched.thread_loop.close()


def test_stack_is_read_only_while_the_loop_is_blocked(watched: Watched) -> None:
    collected: list[bool] = []

    def is_user_code(_: str) -> bool:
        collected.append(gc.isenabled())
        return True

    options = WatchdogOptions(is_user_code=is_user_code)
    watched.watchdog = LoopWatchdog(watched, lambda *_: None, options)
    watched.look(1.0)
    turn = watched.thread_loop.turn
    watched.block()
    held = watched.thread_loop.turn
    assert (turn, held) == (None, watched.thread_loop.turn)
    watched.look(0.1)
    assert collected == []
    watched.look(1.0)
    # Once, for the block; and no garbage collection could start meanwhile.
    assert collected == [False]
    assert gc.isenabled()
    watched.unblock()
    watched.look(0.1)
    assert watched.watchdog.count.blocks == 1


async def test_blocking_call_in_a_thread_is_no_block(watched: Watched) -> None:
    release = threading.Event()

    async def work() -> None:
        await asyncio.to_thread(release.wait, 10)

    task = watched.thread_loop.submit(work)
    watched.look(3)
    release.set()
    await task.wait()
    assert watched.watchdog.count.blocks == 0
