"""Cron schedule: an expression, a time zone, and the due times that follow from them.

The five fields are minute, hour, day of month, month, day of week; an optional sixth field at the end is the second.
Pure: reads no clock. When clocks change, an expression with a fixed hour is due once a day: at the next existing time
if its own is skipped, and at the first of the two if it occurs twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

LONGEST: Final = 200
"""Maximum number of characters of an expression."""
_LONGEST_ZONE: Final = 100
_NAMED: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_HOW: Final = (
    "Use the standard cron format (minute hour day_of_month month day_of_week, and second as a sixth field if you need "
    "it). Example: '*/5 * * * *' for every 5 minutes."
)


class InvalidSchedule(Exception):
    """The expression or time zone is invalid; the text is for its author."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Due times of a cron."""

    expression: str
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, timezone: str | None = None) -> Self:
        """Parse an expression. Raises InvalidSchedule, also for an expression without a due time in the next fifty
        years."""
        zone = _zone(timezone)
        try:
            schedule = cls(_in_our_order(text), zone)
            CronSim(schedule.expression, datetime(2000, 1, 1, tzinfo=UTC))
        except (CronSimError, ValueError) as error:
            raise InvalidSchedule(f"Invalid cron schedule: '{text[:LONGEST]}'. Reason: {error}. {_HOW}") from error
        if schedule.after(datetime(2000, 1, 1, tzinfo=UTC)) is None:
            raise InvalidSchedule(f"Invalid cron schedule: '{text[:LONGEST]}'. Reason: no date ever fulfils it. {_HOW}")
        return schedule

    def after(self, moment: datetime) -> datetime | None:
        """Return the first due time later than ``moment``, in UTC; None if there is none within fifty years."""
        for found in CronSim(self.expression, moment.astimezone(self.zone)):
            due = found.astimezone(UTC)
            # In the hour that occurs twice, the wall clock shows times that have passed already.
            if due > moment:
                return due
        return None

    def shortest_gap(self, moment: datetime, *, among: int = 100) -> timedelta | None:
        """Return the shortest time between two of the next ``among`` moments; None if there is only one."""
        shortest, due = None, self.after(moment)
        for _ in range(among):
            following = None if due is None else self.after(due)
            if due is None or following is None:
                break
            gap = following - due
            shortest = gap if shortest is None or gap < shortest else shortest
            due = following
        return shortest

    def last(self, moment: datetime, *, since: datetime) -> datetime:
        """Return the latest due time that is not later than ``moment`` and not before ``since``, which is itself a due
        time."""
        latest = since
        for found in CronSim(self.expression, (moment + timedelta(seconds=1)).astimezone(self.zone), reverse=True):
            due = found.astimezone(UTC)
            if due <= moment:
                latest = max(latest, due)
                break
        return latest


def _in_our_order(text: str) -> str:
    """Return the expression in the library's order: seconds first."""
    if len(text) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST} characters")
    expression = _NAMED.get(text.strip().lower(), text)
    *others, last = fields = expression.split()
    if len(fields) not in (5, 6):
        raise ValueError(f"it has {len(fields)} fields, not 5 or 6")
    return " ".join(fields if len(fields) == 5 else [last, *others])


def _zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        if not name or len(name) > _LONGEST_ZONE:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise InvalidSchedule(
            f"timezone: '{name[:_LONGEST_ZONE]}' is not the IANA name of a time zone, such as 'Europe/Paris'"
        ) from error
