"""Event ids: ``{attempt}-{seq}``, and ``{attempt}-0`` for the position before an attempt's first event. Pure."""

from __future__ import annotations

import re
from typing import Final

from .contract import FROM_THE_START

_ID: Final = re.compile(r"([1-9][0-9]{0,17})-(0|[1-9][0-9]{0,17})")


def numbers_of(event_id: str) -> tuple[int, int] | None:
    """Return attempt and seq of an id, or None for any other text.

    ``1-0`` is not an id: the position before the first event of a run is ``-1``.
    """
    match = _ID.fullmatch(event_id)
    numbers = (int(match[1]), int(match[2])) if match else None
    return None if numbers == (1, 0) else numbers


def position_after(attempt: int, seq: int) -> str:
    """Return the id from which a reader resumes so that its next event is ``{attempt}-{seq + 1}`` or, at an attempt's
    end, the first event of the next attempt."""
    return FROM_THE_START[0] if (attempt, seq) <= (1, 0) else f"{attempt}-{seq}"


def position_before(event_id: str) -> str:
    """Return the id from which a reader resumes so that the event with this id is its next one."""
    numbers = numbers_of(event_id)
    return FROM_THE_START[0] if numbers is None else position_after(numbers[0], numbers[1] - 1)
