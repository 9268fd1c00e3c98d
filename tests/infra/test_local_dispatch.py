from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

import pytest

from runstead.infra.dispatch.local import LocalDispatcher, LocalDispatchSettings
from runstead.infra.dispatch.wakeup import WakeupSignal
from runstead.runtime.clock import SystemClock
from runstead.runtime.runs.types import RunId
from runstead.testing.clock import ManualClock, turn
from runstead.testing.conformance.dispatcher import (
    RecordingWorker,
    RunDispatcherConformance,
    eventually,
    serving,
)


class Rows:
    """The pending runs of a lease store, in a dict; counts its queries, and fails on request."""

    def __init__(self, clock: ManualClock | SystemClock, bell: WakeupSignal) -> None:
        self.looks = 0
        self.failing = False
        self.slow = 0
        self.looking = asyncio.Event()
        self._clock, self._bell = clock, bell
        self._due: dict[RunId, datetime] = {}

    async def add(self, run_id: RunId, *, due_in: float = 0) -> None:
        self._due[run_id] = self._clock.now() + timedelta(seconds=due_in)
        self._bell.notify()

    async def take(self, run_id: RunId) -> bool:
        await asyncio.sleep(0)
        return self._due.pop(run_id, None) is not None

    async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
        self.looks += 1
        due = sorted((at, run_id) for run_id, at in self._due.items() if at <= self._clock.now())
        self.looking.set()
        for _ in range(self.slow):
            await asyncio.sleep(0)
        if self.failing:
            raise OSError("the disk is away")
        return [run_id for _, run_id in due[:limit]]

    async def next_due(self) -> datetime | None:
        return min((at for at in self._due.values() if at > self._clock.now()), default=None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def bell() -> WakeupSignal:
    return WakeupSignal()


@pytest.fixture
def waiting(clock: ManualClock, bell: WakeupSignal) -> Rows:
    return Rows(clock, bell)


@pytest.fixture
def dispatcher(waiting: Rows, bell: WakeupSignal, clock: ManualClock) -> LocalDispatcher:
    return LocalDispatcher(waiting, bell, clock)


class TestLocalDispatcher(RunDispatcherConformance):
    pass


async def test_idle_dispatcher_queries_once_per_recheck(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    async with serving(dispatcher, RecordingWorker(waiting)):
        looks = waiting.looks
        await clock.advance(300)
        assert waiting.looks - looks == 10


async def test_run_with_a_lost_wake_up_is_found_by_the_recheck(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    worker = RecordingWorker(waiting)
    async with serving(dispatcher, worker):
        waiting._due[RunId("silent")] = clock.now()
        await clock.advance(31)
    assert worker.launched == ["silent"]


async def test_burst_of_wake_ups_causes_one_query(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    async with serving(dispatcher, RecordingWorker(waiting)):
        looks = waiting.looks
        for _ in range(1_000):
            dispatcher.notify()
        await turn()
        assert waiting.looks - looks == 1


async def test_wake_up_during_a_query_is_not_lost(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    worker = RecordingWorker(waiting)
    async with serving(dispatcher, worker):
        waiting.slow = 5
        waiting.looking.clear()
        dispatcher.notify()
        await waiting.looking.wait()
        # The rows were read before this run existed, and the dispatcher has not received them yet.
        waiting.slow = 0
        await waiting.add(RunId("in-between"))
        await eventually(clock, worker.launched, 1)


async def test_run_is_not_delivered_again_during_its_launch(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    worker = RecordingWorker(waiting)
    worker.hold.clear()
    async with serving(dispatcher, worker):
        await waiting.add(RunId("run-1"))
        await eventually(clock, worker.offered, 1)
        for _ in range(5):
            dispatcher.notify()
            await turn()
        assert worker.offered == ["run-1"]
        worker.hold.set()
        await eventually(clock, worker.launched, 1)


async def test_slow_launch_does_not_delay_the_others(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    class OneSlowClaim(RecordingWorker):
        async def launch(self, run_id: RunId) -> bool:
            if run_id == "slow":
                await asyncio.Event().wait()
            return await super().launch(run_id)

    worker = OneSlowClaim(waiting)
    async with serving(dispatcher, worker) as task:
        await waiting.add(RunId("slow"))
        await turn()
        for number in range(8):
            await waiting.add(RunId(f"run-{number}"))
        await eventually(clock, worker.launched, 8)
        assert "slow" not in worker.launched
        # The slow one never ends: leave without waiting for it.
        task.cancel()
        await turn()
        task.cancel()


async def test_launches_run_together_up_to_the_bound(waiting: Rows, bell: WakeupSignal, clock: ManualClock) -> None:
    dispatcher = LocalDispatcher(waiting, bell, clock, LocalDispatchSettings(parallel_launches=8))
    worker = RecordingWorker(waiting, slots=50)
    for number in range(50):
        await waiting.add(RunId(f"run-{number}"))
    async with serving(dispatcher, worker):
        await eventually(clock, worker.launched, 50)
    assert worker.most_at_once == 8


@pytest.mark.parametrize("counted_at_once", [True, False])
async def test_capacity_is_respected_while_a_claim_is_pending(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock, counted_at_once: bool
) -> None:
    class CountsLate(RecordingWorker):
        @property
        def free(self) -> int:
            return self.slots - (len(self._busy) if counted_at_once else len(self.launched))

    worker = CountsLate(waiting, slots=4)
    worker.hold.clear()
    for number in range(9):
        await waiting.add(RunId(f"run-{number}"))
    async with serving(dispatcher, worker):
        for _ in range(3):
            dispatcher.notify()
            await turn()
            assert len(worker.offered) <= 4
        worker.hold.set()
        await eventually(clock, worker.launched, 4)
        await clock.advance(60)
        assert len(worker.offered) == 4


async def test_reserved_slot_is_kept_during_launches(bell: WakeupSignal, clock: ManualClock) -> None:
    class OneGroup(Rows):
        """All runs are of one group; launches progress, and wake-ups arrive, while they are read."""

        async def list_claimable(self, limit: int, shared: int | None = None) -> Sequence[RunId]:
            for _ in range(20):
                await asyncio.sleep(0)
            found = await super().list_claimable(limit)
            bell.notify()
            return found[:shared]

    rows = OneGroup(clock, bell)
    worker = RecordingWorker(rows, slots=6, reserved=2)
    for number in range(12):
        await rows.add(RunId(f"run-{number:02}"))
    async with serving(LocalDispatcher(rows, bell, clock), worker):
        await eventually(clock, worker.launched, 4)
        for _ in range(5):
            bell.notify()
            await clock.advance(1)
    assert len(worker.launched) == 4


async def test_failing_store_is_retried_with_back_off_and_delivery_resumes(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    worker = RecordingWorker(waiting)
    async with serving(dispatcher, worker):
        waiting.failing = True
        await waiting.add(RunId("run-1"))
        looks = waiting.looks
        for _ in range(60):
            dispatcher.notify()
            await clock.advance(1)
        # 0.1 + 0.2 + ... + 6.4 s, then every 10 s: wake-ups do not increase the rate.
        assert 8 <= waiting.looks - looks <= 14
        assert "the disk is away" in caplog.text
        waiting.failing = False
        await clock.advance(11)
        await eventually(clock, worker.launched, 1)


async def test_failing_launch_is_retried_later_and_blocks_no_other_run(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Unlucky(RecordingWorker):
        tries = 0

        async def launch(self, run_id: RunId) -> bool:
            if run_id == "cursed":
                self.tries += 1
                if self.tries <= 4:
                    raise RuntimeError("no such luck")
            return await super().launch(run_id)

    worker = Unlucky(waiting, slots=1)
    async with serving(dispatcher, worker):
        await waiting.add(RunId("cursed"))
        await turn()
        assert worker.tries == 1
        await waiting.add(RunId("fine"))
        await eventually(clock, worker.launched, 1)
        assert worker.launched == ["fine"]
        worker.finish(RunId("fine"))
        # 0.1 + 0.2 + 0.4 + 0.8 s
        await clock.advance(2)
        assert worker.launched == ["fine", "cursed"]
        assert worker.tries == 5
        assert "no such luck" in caplog.text


async def test_run_claimed_by_another_worker_is_retried_with_back_off(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    class NeverGetsIt(RecordingWorker):
        async def launch(self, run_id: RunId) -> bool:
            self.offered.append(run_id)
            return False

    worker = NeverGetsIt(waiting)
    async with serving(dispatcher, worker):
        await waiting.add(RunId("contested"))
        await clock.advance(60)
    # Doubling from 0.1 s to 10 s: about a dozen tries in a minute.
    assert 5 <= len(worker.offered) <= 15


async def test_due_time_in_the_past_does_not_cause_a_busy_loop(bell: WakeupSignal, clock: ManualClock) -> None:
    class Sloppy(Rows):
        async def next_due(self) -> datetime | None:
            return self._clock.now() - timedelta(hours=1)

    rows = Sloppy(clock, bell)
    async with serving(LocalDispatcher(rows, bell, clock), RecordingWorker(rows)):
        looks = rows.looks
        await clock.advance(1)
        assert rows.looks - looks <= 50


async def test_wake_up_is_thread_safe() -> None:
    clock, bell = SystemClock(), WakeupSignal()
    rows = Rows(clock, bell)
    dispatcher = LocalDispatcher(rows, bell, clock)

    class Counting(RecordingWorker):
        all_launched = asyncio.Event()

        async def launch(self, run_id: RunId) -> bool:
            begun = await super().launch(run_id)
            if len(self.launched) == 100:
                self.all_launched.set()
            return begun

    worker = Counting(rows, slots=200)

    def commit(number: int) -> None:
        rows._due[RunId(f"run-{number}")] = clock.now()
        dispatcher.notify()

    async with serving(dispatcher, worker):
        threads = [threading.Thread(target=commit, args=(number,)) for number in range(100)]
        for thread in threads:
            thread.start()
        async with asyncio.timeout(60):
            await worker.all_launched.wait()
        for thread in threads:
            thread.join()
    assert len(set(worker.launched)) == 100


async def test_wake_up_without_listeners_is_ignored() -> None:
    bell = WakeupSignal()
    bell.notify()

    async def listen() -> None:
        with bell.listener():
            # A listener whose loop is closed never unsubscribes.
            await asyncio.Event().wait()

    loop = asyncio.new_event_loop()
    task = loop.create_task(listen())
    loop.call_soon(lambda: loop.call_soon(loop.stop))
    await asyncio.get_running_loop().run_in_executor(None, loop.run_forever)
    loop.close()
    bell.notify()
    del task


async def test_stop_notice_reaches_other_workers_when_one_fails(
    dispatcher: LocalDispatcher, waiting: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    class Deaf(RecordingWorker):
        def check_stop_request(self, run_id: RunId) -> None:
            raise RuntimeError("not listening")

    deaf, holder = Deaf(waiting), RecordingWorker(waiting)
    async with serving(dispatcher, deaf), serving(dispatcher, holder):
        await dispatcher.request_stop(RunId("run-1"))
    assert holder.notices == ["run-1"]
    assert "not listening" in caplog.text


async def test_stop_reaches_a_worker_on_another_loop(waiting: Rows, bell: WakeupSignal, clock: ManualClock) -> None:
    dispatcher = LocalDispatcher(waiting, bell, clock)
    serving_now = threading.Event()

    class Elsewhere(RecordingWorker):
        noticed = asyncio.Event()

        def check_stop_request(self, run_id: RunId) -> None:
            super().check_stop_request(run_id)
            self.loop_of_notice = asyncio.get_running_loop()
            self.noticed.set()

    async def elsewhere() -> asyncio.AbstractEventLoop:
        worker = Elsewhere(waiting)
        async with serving(dispatcher, worker):
            serving_now.set()
            await worker.noticed.wait()
        assert worker.notices == ["run-1"]
        assert worker.loop_of_notice is asyncio.get_running_loop()
        return asyncio.get_running_loop()

    other = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await asyncio.to_thread(serving_now.wait, 5)
    await dispatcher.request_stop(RunId("run-1"))
    assert await other is not asyncio.get_running_loop()


@pytest.mark.parametrize("wrong", [{"parallel_launches": 0}, {"recheck": 0}, {"retry_after": -1.0}])
def test_invalid_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must be|positive"):
        LocalDispatchSettings(**wrong)  # type: ignore[arg-type]


async def test_launching_fifty_runs_takes_few_queries(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    worker = RecordingWorker(waiting, slots=50)
    for number in range(50):
        await waiting.add(RunId(f"run-{number}"))
    async with serving(dispatcher, worker):
        await eventually(clock, worker.launched, 50)
        await turn()
    assert waiting.looks < 60


async def test_serve_ends_only_after_launches_in_progress(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    worker = RecordingWorker(waiting)
    worker.hold.clear()
    async with serving(dispatcher, worker) as task:
        await waiting.add(RunId("run-1"))
        await eventually(clock, worker.offered, 1)
        task.cancel()
        await turn()
        assert not task.done()
        worker.hold.set()
        await asyncio.wait([task])
        assert worker.launched == ["run-1"]


async def test_slot_freed_after_a_query_is_used_without_a_wake_up(
    dispatcher: LocalDispatcher, waiting: Rows, clock: ManualClock
) -> None:
    worker = RecordingWorker(waiting, slots=1)
    async with serving(dispatcher, worker):
        waiting.slow = 10
        waiting.looking.clear()
        await waiting.add(RunId("run-1"))
        await waiting.looking.wait()
        worker._busy.add(RunId("from-elsewhere"))
        await turn()
        assert worker.offered == []
        worker.finish(RunId("from-elsewhere"))
        await eventually(clock, worker.launched, 1)
