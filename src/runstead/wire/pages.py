"""Pagination of searches: limits, and the headers that describe further results."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import Field

MAX_LIMIT: Final = 1_000
MAX_OFFSET: Final = 2**53
TOTAL: Final = "x-pagination-total"

Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Offset: TypeAlias = Annotated[int, Field(ge=0, le=MAX_OFFSET)]


def page_headers(*, offset: int, returned: int, total: int) -> dict[str, str]:
    """Return the headers: ``x-pagination-total`` is the number of matches, ``x-pagination-next`` the next offset if
    there are more."""
    headers = {TOTAL: str(total)}
    if returned and offset + returned < total:
        headers["x-pagination-next"] = str(offset + returned)
    return headers
