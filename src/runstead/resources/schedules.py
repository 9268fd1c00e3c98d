"""When a cron is due: an expression, a time zone, and the moments that follow from them.

Five fields are minute, hour, day of month, month, day of week; a sixth, at the end, is the second. Pure: nobody's clock
is read here. Over changes of the clocks, an expression that names its hour is due once a day: at the next moment there
is when its own is skipped, and at the first of two when it comes twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

LONGEST: Final = 200
"""Characters of an expression."""
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
    """An expression, or a time zone, that nothing can be due by; the text is for the one who wrote it."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """Moments that a cron is due at."""

    expression: str
    zone: tzinfo

    @classmethod
    def parse(cls, text: str, timezone: str | None = None) -> Self:
        """Raises InvalidSchedule, also for an expression that no moment in the next fifty years fulfils."""
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
        """The first moment later than ``moment``, in UTC; None when there is none in sight."""
        for found in CronSim(self.expression, moment.astimezone(self.zone)):
            due = found.astimezone(UTC)
            # In the hour that comes twice, the wall clock shows moments that have been already.
            if due > moment:
                return due
        return None

    def last(self, moment: datetime, *, since: datetime) -> datetime:
        """The latest moment that is not later than ``moment``, and not before ``since``, which is one of them."""
        latest = since
        for found in CronSim(self.expression, (moment + timedelta(seconds=1)).astimezone(self.zone), reverse=True):
            due = found.astimezone(UTC)
            if due <= moment:
                latest = max(latest, due)
                break
        return latest


def _in_our_order(text: str) -> str:
    """As the library takes it: seconds first."""
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
