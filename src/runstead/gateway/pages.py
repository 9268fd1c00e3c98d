"""Pages of lists, limited in bytes, with headers for the total number of entries and the next page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from starlette.requests import Request

from runstead.runtime.page_budget import page_within
from runstead.wire.pages import page_headers
from runstead.wire.remarks import CUT_PAGE

from .remark_headers import add_remarks
from .services import Services

T = TypeVar("T")


async def bounded(
    request: Request, services: Services, find: Callable[[], Awaitable[Sequence[T]]]
) -> tuple[Sequence[T], bool]:
    """Return the entries that ``find`` returns within the bytes of a page, and whether the page was cut.

    A cut page gets a remark that says so.
    """
    with page_within(services.options.max_page_bytes) as page:
        found = await find()
    if page.is_cut:
        add_remarks(request, [CUT_PAGE.format(count=len(found))])
    return found, page.is_cut


async def counted(
    request: Request,
    services: Services,
    find: Callable[[], Awaitable[Sequence[T]]],
    count: Callable[[], Awaitable[int]],
    *,
    limit: int,
    offset: int,
) -> tuple[Sequence[T], dict[str, str]]:
    """Return the entries of a page, and its headers. ``count`` returns the total number of entries."""
    found, is_cut = await bounded(request, services, find)
    # A page that is not full is the last one, so that no count query is needed.
    is_last = 0 < len(found) < limit and not is_cut
    total = offset + len(found) if is_last else await count()
    return found, page_headers(offset=offset, returned=len(found), total=total)
