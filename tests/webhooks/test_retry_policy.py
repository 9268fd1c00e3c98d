"""Times of delivery retries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from runstead.infra.webhooks.retry_policy import RetryPolicy

NOW = datetime(2030, 1, 1, tzinfo=UTC)
PATIENT = RetryPolicy(max_attempts=8, first=5, longest=3600)


def seconds(
    number: int, *, status: int | None = 503, retry_after: str | None = None, chance: float = 0
) -> float | None:
    again = PATIENT.next_attempt_at(number, status, retry_after, NOW, chance)
    return None if again is None else (again - NOW).total_seconds()


def test_pauses_grow_up_to_a_bound_and_attempts_are_limited() -> None:
    assert [seconds(number) for number in range(1, 9)] == [5, 20, 80, 320, 1280, 3600, 3600, None]
    assert seconds(100) is None


def test_pauses_have_jitter() -> None:
    assert seconds(1, chance=1) == 3.75
    assert seconds(1, chance=0.5) == 4.375


@pytest.mark.parametrize(
    ("asked", "pause"),
    [
        ("60", 60),
        ("1", 5),
        ("0", 5),
        ("99999", 3600),
        ("Tue, 01 Jan 2030 00:02:00 GMT", 120),
        ("Mon, 31 Dec 2029 00:00:00 GMT", 5),
        ("soon", 5),
        ("-5", 5),
        ("9" * 400, 5),
        ("", 5),
    ],
)
def test_retry_after_is_honoured_within_bounds(asked: str, pause: float) -> None:
    assert seconds(1, status=429, retry_after=asked) == pause


def test_status_410_is_not_retried() -> None:
    assert seconds(1, status=410) is None


def test_any_attempt_number_is_accepted() -> None:
    assert RetryPolicy(10_000, 5, 60).next_attempt_at(9_000, None, None, NOW, 0) == NOW + timedelta(seconds=60)
