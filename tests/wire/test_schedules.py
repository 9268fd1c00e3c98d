"""Due times of crons, over every clock change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from runstead.resources.schedules import InvalidSchedule, Schedule

ZONES = ["UTC", "Europe/Paris", "America/New_York", "America/St_Johns", "Australia/Lord_Howe", "Asia/Kathmandu",
         "Pacific/Apia", "Africa/Casablanca", "America/Havana"]  # fmt: skip


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(text: str, zone: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@pytest.mark.parametrize(
    ("expression", "zone", "after", "due"),
    [
        ("*/5 * * * *", None, "2026-11-22T09:53:30", "2026-11-22T09:55:00"),
        ("0 0 * * *", None, "2026-11-22T09:53:30", "2026-11-23T00:00:00"),
        ("0 9 * * *", "Europe/Paris", "2026-11-22T09:53:30", "2026-11-23T08:00:00"),
        ("0 9 * * *", "Europe/Paris", "2026-07-22T09:53:30", "2026-07-23T07:00:00"),
        ("0 9 * * MON-FRI", "Asia/Kathmandu", "2026-11-20T12:00:00", "2026-11-23T03:15:00"),
        ("0 0 1 * *", None, "2026-11-01T00:00:00", "2026-12-01T00:00:00"),
        ("0 0 29 2 *", None, "2026-01-01T00:00:00", "2028-02-29T00:00:00"),
        ("0 0 L * *", None, "2026-02-03T00:00:00", "2026-02-28T00:00:00"),
        ("@daily", None, "2026-11-22T09:53:30", "2026-11-23T00:00:00"),
        ("@HOURLY", None, "2026-11-22T09:53:30", "2026-11-22T10:00:00"),
        # The sixth field is the second, at the end.
        ("* * * * * 30", None, "2026-11-22T09:53:30", "2026-11-22T09:54:30"),
        ("30 8 * * * */20", None, "2026-11-22T08:30:00", "2026-11-22T08:30:20"),
        # 02:30 does not exist on 2026-03-29 in Paris: the first time after the gap is 03:00.
        ("30 2 * * *", "Europe/Paris", "2026-03-28T12:00:00", "2026-03-29T01:00:00"),
        ("30 2 * * *", "Europe/Paris", "2026-03-29T01:00:00", "2026-03-30T00:30:00"),
        # 02:30 comes twice on 2026-10-25: the cron is due only at the first one.
        ("30 2 * * *", "Europe/Paris", "2026-10-24T12:00:00", "2026-10-25T00:30:00"),
        ("30 2 * * *", "Europe/Paris", "2026-10-25T00:30:00", "2026-10-26T01:30:00"),
        # Computed in the second of the two hours, before its half: the next wall-clock time has been due already.
        ("30 2 * * *", "Europe/Paris", "2026-10-25T01:15:00", "2026-10-26T01:30:00"),
        # Interval schedules are due in both.
        ("*/30 * * * *", "Europe/Paris", "2026-10-25T00:30:00", "2026-10-25T01:00:00"),
        ("*/30 * * * *", "Europe/Paris", "2026-03-29T00:30:00", "2026-03-29T01:00:00"),
    ],
)
def test_next_due_time(expression: str, zone: str | None, after: str, due: str) -> None:
    assert Schedule.parse(expression, zone).after(utc(after)) == utc(due)


@pytest.mark.parametrize(
    "expression",
    [
        "bogus", "", "* * * *", "* * * * * * *", "61 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 9",
        "*/0 * * * *", "5-1 * * * *", "a b c d e", "0 0 30 2 *", "0 0 31 4,6,9,11 *", "* * * * * 60", "@never",
        "\u0665 * * * *", "1,,2 * * * *", "* " * 300,
    ],
)  # fmt: skip
def test_invalid_schedule_is_refused_with_a_message(expression: str) -> None:
    with pytest.raises(
        InvalidSchedule, match=r"Invalid cron schedule: '(?s:.*)'\. Reason: .*Example: '\*/5 \* \* \* \*'"
    ):
        Schedule.parse(expression)


@pytest.mark.parametrize("zone", ["Mars/Base", "", "../../etc/passwd", "/etc/passwd", "Europe", "x" * 500, "\0", "é"])
def test_unknown_time_zone_is_refused_with_a_message(zone: str) -> None:
    with pytest.raises(InvalidSchedule, match=r"timezone: (?s:.*) such as 'Europe/Paris'"):
        Schedule.parse("* * * * *", zone)


minutes, hours = st.integers(0, 59), st.integers(0, 23)
zones = st.sampled_from(ZONES)
moments = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1)).map(lambda when: when.replace(tzinfo=UTC))


@given(minutes, hours, zones, moments)
@settings(max_examples=300)
def test_once_a_day_means_once_a_day(minute: int, hour: int, zone: str, start: datetime) -> None:
    """Despite clock changes: at its time, or at the first time after the gap that contains it."""
    schedule = Schedule.parse(f"{minute} {hour} * * *", zone)
    days, moment = [], start
    for _ in range(10):
        due = schedule.after(moment)
        assert due is not None
        assert moment < due
        here = due.astimezone(ZoneInfo(zone))
        wanted = here.replace(hour=hour, minute=minute, second=0, fold=0)
        exists = wanted.astimezone(UTC).astimezone(ZoneInfo(zone)) == wanted
        assert (here.hour, here.minute, here.second) == (hour, minute, 0) or not exists or here.date() != wanted.date()
        assert here.fold == 0
        days.append(here.date())
        moment = due
    assert len(set(days)) == 10, "twice on one day"
    gaps = {(later - earlier).days for earlier, later in pairwise(days)}
    # Samoa once skipped a whole day; here no zone does.
    assert gaps == {1}


@given(st.sampled_from(["*/15 * * * *", "* * * * *", "0 * * * *", "*/7 */2 * * *"]), zones, moments)
@settings(max_examples=200)
def test_moments_only_go_forward_and_each_is_on_the_schedule(expression: str, zone: str, start: datetime) -> None:
    schedule, moment = Schedule.parse(expression, zone), start
    for _ in range(20):
        due = schedule.after(moment)
        assert due is not None
        assert moment < due <= moment + timedelta(hours=4)
        assert due.second == due.microsecond == 0
        moment = due


@given(
    st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 9 * * 1-5", "15 1,2,3 * * *", "5 4 * * * 10"]),
    zones,
    moments,
    st.integers(0, 60 * 60 * 24 * 9),
)
@settings(max_examples=300)
def test_last_moment_is_the_one_that_going_forward_ends_at(
    expression: str, zone: str, start: datetime, later: int
) -> None:
    schedule = Schedule.parse(expression, zone)
    first = schedule.after(start)
    assume(first is not None)
    assert first is not None
    now = first + timedelta(seconds=later)
    latest = first
    while (following := schedule.after(latest)) is not None and following <= now:
        latest = following
    assert schedule.last(now, since=first) == latest


@given(st.text(max_size=30), zones)
def test_any_text_is_parsed_or_refused(text: str, zone: str) -> None:
    try:
        schedule = Schedule.parse(text, zone)
    except InvalidSchedule:
        return
    assert schedule.after(utc("2026-01-01T00:00:00")) is not None
