"""Retries with growing pauses, and loops that go on after a failure."""

from __future__ import annotations

import asyncio
from itertools import islice

import pytest

from runstead.runtime.backoff import Backoff, exponential, retry
from runstead.runtime.periodic import beside, repeat
from runstead.testing.clock import ManualClock


def test_backoff_repeats_its_last_pause_and_restarts_after_a_success() -> None:
    backoff = Backoff((0.0, 1.0, 2.0))
    assert list(islice(backoff, 4)) == [0.0, 1.0, 2.0, 2.0]
    assert backoff.failures == 4
    backoff.reset()
    assert (backoff.failures, next(backoff)) == (0, 0.0)


def test_exponential_pause_doubles_up_to_its_limit() -> None:
    assert [exponential(0.5, failures, 3) for failures in (1, 2, 3, 4, 5_000)] == [0.5, 1, 2, 3, 3]


async def test_retry_pauses_after_each_failure_and_raises_what_failed_raises() -> None:
    outcomes: list[object] = [OSError("1"), OSError("2"), "done", OSError("3"), ValueError("final")]
    pauses: list[float] = []

    async def work() -> object:
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def failed(error: Exception) -> None:
        if isinstance(error, ValueError):
            raise error

    assert await retry(work, (0.1, 0.2), sleep, failed) == "done"
    assert pauses == [0.1, 0.2]
    with pytest.raises(ValueError, match="final"):
        await retry(work, (0.1, 0.2), sleep, failed)


@pytest.mark.parametrize("at_once", [True, False])
async def test_repeat_goes_on_after_a_failure_until_its_block_ends(at_once: bool) -> None:
    clock, calls, failures = ManualClock(), 0, 0

    async def work() -> None:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError("the first one fails")

    def failed() -> None:
        nonlocal failures
        failures += 1

    async with beside(repeat(work, 10, clock, failed=failed, at_once=at_once), "work"):
        await asyncio.sleep(0)
        assert calls == at_once
        for _ in range(3):
            await clock.advance(10)
        assert (calls, failures) == (3 + at_once, 1)
    await clock.advance(10)
    assert calls == 3 + at_once
