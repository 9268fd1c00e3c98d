"""Basis of the simulation: virtual time, processes that die and freeze, and deadlock detection."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest

from tests.simulation import Deadlock, NotQuiescent, Process, World
from tests.simulation.ports import LatencyProfile, Outage, through_network


@pytest.fixture
def world() -> Iterator[World]:
    world = World(seed=1)
    yield world
    world.close()


class Counter:
    """A port with one method."""

    def __init__(self) -> None:
        self.counted = 0

    async def count(self) -> int:
        self.counted += 1
        return self.counted


def test_virtual_hours_take_no_real_time(world: World) -> None:
    began = time.monotonic()
    world.complete(world.outside, asyncio.sleep(36_000), until=40_000)
    assert world.now == 36_000
    assert time.monotonic() - began < 60


def test_sleepers_of_all_processes_wake_in_the_order_of_time(world: World) -> None:
    woken: list[tuple[float, str]] = []

    async def sleeper(process: Process, *moments: float) -> None:
        for moment in moments:
            await process.clock.sleep(moment - world.now)
            woken.append((world.now, process.name))

    first, second = world.process("first"), world.process("second")
    tasks = [first.spawn(sleeper(first, 1, 4)), second.spawn(sleeper(second, 2, 3))]
    world.run(lambda: all(task.done() for task in tasks), until=10)
    assert woken == [(1, "first"), (2, "second"), (3, "second"), (4, "first")]


def test_timeout_is_virtual_too(world: World) -> None:
    async def waits() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.Event().wait()
        return world.now

    assert world.complete(world.outside, waits(), until=10) == 5


def test_deadlock_is_detected_and_names_the_waiting_tasks(world: World) -> None:
    async def waits_for_ever() -> None:
        await asyncio.Event().wait()

    world.outside.spawn(waits_for_ever(), name="waiter")
    with pytest.raises(Deadlock, match="waiter at waits_for_ever"):
        world.run(lambda: False, until=10)


def test_endless_activity_is_detected(world: World) -> None:
    async def restless() -> None:
        for _ in range(1_000):
            await asyncio.sleep(1)

    world.outside.spawn(restless(), name="restless")
    with pytest.raises(NotQuiescent, match="restless"):
        world.run(lambda: False, until=100)


def test_killed_process_does_nothing_more(world: World) -> None:
    done: list[str] = []

    async def works() -> None:
        try:
            await asyncio.sleep(1)
            done.append("worked")
        finally:
            done.append("cleaned up")

    process = world.process("victim")
    process.spawn(works())
    world.sleep_until(0.5)
    process.kill()
    world.sleep_until(5)
    assert done == []


def test_frozen_process_finds_its_timers_overdue(world: World) -> None:
    woken: list[float] = []

    async def ticks() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            woken.append(world.now)

    process = world.process("sleepy")
    process.spawn(ticks())
    world.sleep_until(1)
    process.freeze()
    world.sleep_until(10)
    process.thaw()
    world.sleep_until(20)
    assert woken == [1, 10, 11]


@pytest.mark.parametrize(("call", "counted"), [(1, 0), (2, 1)])
def test_process_can_die_before_a_call_takes_effect_and_after_it(world: World, call: int, counted: int) -> None:
    counter, process = Counter(), world.process("victim")
    port = through_network(counter, process, LatencyProfile(), name="counter")
    process.dies_at_call = call
    task = process.spawn(port.count())
    world.sleep_until(10)
    assert (counter.counted, process.alive, task.done()) == (counted, False, False)


def test_reply_can_be_lost_after_the_call_took_effect(world: World) -> None:
    counter = Counter()
    port = through_network(counter, world.outside, LatencyProfile(outages={"count": 1.0}), name="counter")
    for _ in range(20):
        with pytest.raises(Outage):
            world.complete(world.outside, port.count(), until=world.now + 10)
    assert 0 < counter.counted < 20


def test_network_call_takes_virtual_time(world: World) -> None:
    port = through_network(Counter(), world.outside, LatencyProfile(instant=0.0, slowest=1.0), name="counter")
    assert world.complete(world.outside, port.count(), until=10) == 1
    assert 0 < world.now < 2
