"""Times and durations as short texts for people."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from runstead.runtime.json_types import JsonMapping

_UNITS: Final = ((86_400, "d"), (3_600, "h"), (60, "m"))


def ago(value: object, now: datetime | None = None) -> str:
    """Return the distance of a time from now: ``5m ago``, ``in 2h``, or ``-`` for no time."""
    if not (time := parsed(value)):
        return "-"
    seconds = ((now or datetime.now(UTC)) - time).total_seconds()
    if abs(seconds) < 1:
        return "now"
    return f"{_coarse(seconds)} ago" if seconds > 0 else f"in {_coarse(-seconds)}"


def duration(seconds: float) -> str:
    """Return a duration: ``0.4s``, ``12s``, ``3m05s``, ``2h10m``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest}s"
    return f"{minutes}m{rest:02d}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02d}m"


def duration_of(run: JsonMapping, now: datetime | None = None) -> str:
    """Return the duration of a run from its start to its end, or to now while it executes."""
    if (started := parsed(run.get("started_at"))) is None:
        return "-"
    return duration(((parsed(run.get("ended_at")) or now or datetime.now(UTC)) - started).total_seconds())


def moment(value: object) -> str:
    """Return a time as date and time of day, in UTC."""
    return str(value)[:19].replace("T", " ") if value else "never"


def parsed(value: object) -> datetime | None:
    """Return a time of the API; None for no time, or a text that is none."""
    if isinstance(value, datetime):
        return value
    try:
        time = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _coarse(seconds: float) -> str:
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
