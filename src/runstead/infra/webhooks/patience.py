"""How long a receiver that did not take a delivery is left alone. Pure, but for the chance that is handed in."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

GONE: Final = 410
"""The receiver says that it will never be there again."""


@dataclass(frozen=True, slots=True)
class Patience:
    """``max_attempts`` in all. The first pause is ``first``, each later one four times the former, none longer than
    ``longest`` (seconds).
    """

    max_attempts: int = 8
    first: float = 5
    longest: float = 3600

    def again_at(
        self, number: int, status_code: int | None, retry_after: str | None, now: datetime, chance: float
    ) -> datetime | None:
        """When to try again after attempt ``number`` failed; None when that was the last.

        ``chance`` (0 to 1) spreads those that failed together: the pause is shortened by up to a quarter. What the
        receiver itself asks for is not shortened.
        """
        if number >= self.max_attempts or status_code == GONE:
            return None
        pause = float(min(self.first * 4 ** min(number - 1, 30), self.longest)) * (1 - chance / 4)
        if (asked := _seconds(retry_after, now)) is not None:
            pause = max(pause, min(asked, self.longest))
        return now + timedelta(seconds=pause)


def _seconds(retry_after: str | None, now: datetime) -> float | None:
    """``Retry-After``: seconds, or a date."""
    text = (retry_after or "").strip()
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max((parsedate_to_datetime(text) - now).total_seconds(), 0)
    except (TypeError, ValueError, IndexError):
        return None
