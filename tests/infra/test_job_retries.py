"""Jobs whose delivery failed are due again soon, whatever the clock of the worker says."""

from __future__ import annotations

from datetime import timedelta

from procrastinate.jobs import Job

from runstead.infra.dispatch.procrastinate import JobRetries
from runstead.testing.clock import ManualClock


def _job(attempts: int) -> Job:
    return Job(
        id=1, status="doing", queue="q", lock=None, queueing_lock=None, task_name="t", task_kwargs={}, attempts=attempts
    )


def test_retry_time_comes_from_the_given_clock_and_grows() -> None:
    clock = ManualClock()
    retries = JobRetries(clock)
    decisions = [retries.get_retry_decision(exception=ValueError(), job=_job(attempts)) for attempts in range(5)]
    assert [decision.retry_at for decision in decisions if decision] == [
        clock.now() + timedelta(seconds=seconds) for seconds in (2, 4, 8, 16, 32)
    ]


def test_no_further_retry_after_the_last_attempt() -> None:
    assert JobRetries(ManualClock()).get_retry_decision(exception=ValueError(), job=_job(5)) is None
