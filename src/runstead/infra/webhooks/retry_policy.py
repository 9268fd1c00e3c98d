"""The retry policy of webhook deliveries: exponential back-off. Pure; randomness is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

GONE: Final = 410
"""The receiver's statement that it is gone for good."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``max_attempts`` is the total number of attempts. Pauses are in seconds.

    The first pause is ``first``; each later one is four times as long as the one before, but at most ``longest``.
    """

    max_attempts: int = 8
    first: float = 5
    longest: float = 3600

    def next_attempt_at(
        self, number: int, status_code: int | None, retry_after: str | None, now: datetime, chance: float
    ) -> datetime | None:
        """Return the time of the next attempt after attempt ``number`` failed; None if that was the last.

        ``chance`` (0 to 1) is the jitter: the pause is shortened by up to a quarter. A pause that the receiver asks
        for is not shortened.
        """
        if number >= self.max_attempts or status_code == GONE:
            return None
        pause = float(min(self.first * 4 ** min(number - 1, 30), self.longest)) * (1 - chance / 4)
        if (asked := _seconds(retry_after, now)) is not None:
            pause = max(pause, min(asked, self.longest))
        return now + timedelta(seconds=pause)


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """Return the seconds of a ``Retry-After`` header, which contains seconds or a date."""
    text = (retry_after or "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - now).total_seconds(), 0)
    except (TypeError, ValueError, IndexError):
        return None
