"""References to runs, threads and deliveries: a whole id, the unique beginning of one, or ``last``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from uuid import UUID

from runstead.runtime.json_types import JsonObject

from .output import CommandError

if TYPE_CHECKING:
    from langgraph_sdk.client import LangGraphClient

LAST: Final = "last"
_PAGE: Final = 1_000
_PAGES: Final = 10
_SHOWN: Final = 5
_HEX: Final = frozenset("0123456789abcdef-")

Row: TypeAlias = JsonObject
Page: TypeAlias = Callable[[int, int], Awaitable[Sequence[Any]]]
"""Function that returns the rows from an offset on, the newest first: ``(limit, offset)``."""


async def find_run(client: LangGraphClient, reference: str, thread_id: str | None = None) -> tuple[str, str]:
    """Return the ids of the run's thread and of the run. Raises CommandError, or the server's error."""
    if _is_whole(reference):
        if thread_id is not None:
            return thread_id, reference
        run: Row = await client.http.get(f"/runs/{reference}")
        return str(run["thread_id"]), reference
    path = f"/threads/{thread_id}/runs" if thread_id else "/runs"

    async def page(limit: int, offset: int) -> Sequence[Row]:
        params: Row = {"limit": limit, "offset": offset, "select": ["run_id", "thread_id"]}
        found: Sequence[Row] = await client.http.get(path, params=params)
        return found

    found = await _find("run", "run_id", reference, page, "runstead runs ls")
    return str(found["thread_id"]), str(found["run_id"])


async def find_thread(client: LangGraphClient, reference: str) -> str:
    """Return the id of a thread."""
    if _is_whole(reference):
        return reference

    async def page(limit: int, offset: int) -> Sequence[Any]:
        return await client.threads.search(limit=limit, offset=offset, select=["thread_id"], sort_by="updated_at")

    return str((await _find("thread", "thread_id", reference, page, "runstead threads ls"))["thread_id"])


async def find_delivery(client: LangGraphClient, reference: str) -> str:
    """Return the id of a webhook delivery."""
    if _is_whole(reference):
        return reference

    async def page(limit: int, offset: int) -> Sequence[Row]:
        found: Sequence[Row] = await client.http.get("/webhooks/deliveries", params={"limit": limit, "offset": offset})
        return found

    return str((await _find("delivery", "delivery_id", reference, page, "runstead webhooks ls"))["delivery_id"])


async def find_cron(client: LangGraphClient, reference: str) -> str:
    """Return the id of a cron."""
    if _is_whole(reference):
        return reference

    async def page(limit: int, offset: int) -> Sequence[Any]:
        return await client.crons.search(limit=limit, offset=offset)

    return str((await _find("cron", "cron_id", reference, page, "runstead crons ls"))["cron_id"])


async def find_approval(client: LangGraphClient, reference: str) -> str:
    """Return the id of an approval; ``last`` is the open one that has waited longest."""
    if _is_whole(reference):
        return reference

    async def page(limit: int, offset: int) -> Sequence[Row]:
        state = "open" if reference == LAST else "any"
        params: Row = {"limit": limit, "offset": offset, "state": state}
        found: Sequence[Row] = await client.http.get("/approvals", params=params)
        return found

    return str((await _find("approval", "approval_id", reference, page, "runstead approvals ls"))["approval_id"])


async def _find(noun: str, key: str, reference: str, page: Page, listing: str) -> Row:
    """Return the only row whose id begins with ``reference``, or the newest one for ``last``."""
    if reference == LAST:
        newest = await page(1, 0)
        if not newest:
            raise CommandError(f"there is no {noun} yet")
        return dict(newest[0])
    beginning = reference.lower()
    hint = f"`{listing}` shows the ids; `{LAST}` is the newest one"
    if not beginning or not _HEX.issuperset(beginning):
        raise CommandError(f"{reference!r} must be a UUID, or the beginning of one", hint)
    matching = [row async for row in _rows(page) if str(row[key]).startswith(beginning)]
    if not matching:
        raise CommandError(f"the id of no {noun} begins with {reference}", hint)
    if len(matching) > 1:
        ids = [str(row[key]) for row in matching[:_SHOWN]] + (["..."] if len(matching) > _SHOWN else [])
        raise CommandError(f"{reference} is the beginning of several ids: {', '.join(ids)}", "give more characters")
    return dict(matching[0])


async def _rows(page: Page) -> AsyncIterator[Any]:
    for number in range(_PAGES):
        rows = await page(_PAGE, number * _PAGE)
        for row in rows:
            yield row
        if len(rows) < _PAGE:
            return


def _is_whole(reference: str) -> bool:
    try:
        return str(UUID(reference)) == reference.lower()
    except ValueError:
        return False
