"""Pages of a search: how far they may reach, and the headers that tell what comes after."""

from __future__ import annotations

from typing import Annotated, Final, TypeAlias

from pydantic import Field

MAX_LIMIT: Final = 1_000
MAX_OFFSET: Final = 2**53
TOTAL: Final = "x-pagination-total"

Limit: TypeAlias = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
Offset: TypeAlias = Annotated[int, Field(ge=0, le=MAX_OFFSET)]


def page_headers(*, offset: int, returned: int, total: int) -> dict[str, str]:
    """``x-pagination-total`` is how many match; ``x-pagination-next`` the next offset, while there is more."""
    headers = {TOTAL: str(total)}
    if returned and offset + returned < total:
        headers["x-pagination-next"] = str(offset + returned)
    return headers
