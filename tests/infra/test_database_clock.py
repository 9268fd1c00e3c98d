"""A machine whose clock is wrong uses the database's clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest
from sqlalchemy import Connection

from runstead.infra.storage.database_clock import DatabaseClock

T = TypeVar("T")
NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


class Machine:
    """Counts seconds by itself, and queries a database after a delay."""

    def __init__(self) -> None:
        self.seconds = 7_000.0
        self.ways: list[tuple[float, float]] = []
        """Travel times of questions and replies, in order; zero afterwards."""
        self.queue = 0.0
        """Seconds that a question waits for a connection before it travels."""

    def elapsed(self) -> float:
        return self.seconds

    async def read(
        self, work: Callable[[Connection], T], *, quick: bool = False, slow: bool = False, single: bool = False
    ) -> Any:
        self.seconds += self.queue
        connection: Any = self
        return work(connection)

    def exec_driver_sql(self, statement: str) -> Machine:
        return self

    def scalar_one(self) -> datetime:
        there, back = self.ways.pop(0) if self.ways else (0.0, 0.0)
        self.seconds += there
        told = NOON + timedelta(seconds=self.seconds - 7_000.0)
        self.seconds += back
        return told

    async def write(self, work: Callable[[Connection], T], **_: Any) -> T:
        raise NotImplementedError


async def test_now_follows_the_database_time_and_advances() -> None:
    machine = Machine()
    clock = DatabaseClock(machine, machine.elapsed)
    await clock.measure()
    assert clock.now() == NOON
    machine.seconds += 90
    assert clock.now() == NOON + timedelta(seconds=90)


async def test_connection_wait_does_not_count_as_round_trip() -> None:
    machine = Machine()
    machine.queue = 8.0
    clock = DatabaseClock(machine, machine.elapsed)
    await clock.measure()
    assert clock.now() == NOON + timedelta(seconds=24)


async def test_slow_answer_does_not_reset_the_clock() -> None:
    machine = Machine()
    clock = DatabaseClock(machine, machine.elapsed)
    await clock.measure()
    machine.ways = [(6.0, 0.0)] * 3
    await clock.measure()
    assert clock.now() == NOON + timedelta(seconds=18)


async def test_quickest_answer_sets_the_clock() -> None:
    """A delayed reply contains its time, but not its age."""
    machine = Machine()
    machine.ways = [(0.0, 2.0), (0.004, 0.004), (1.0, 0.0)]
    clock = DatabaseClock(machine, machine.elapsed)
    await clock.measure()
    truly = NOON + timedelta(seconds=machine.seconds - 7_000.0)
    assert clock.now() == pytest.approx(truly, abs=timedelta(milliseconds=1))
