"""Route that cancels several runs at once."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus, StopAction
from runstead.wire.errors import NotFound
from runstead.wire.run_cancel import ALL_OVER, NOT_FOUND, RUNS_TO_STOP, RunsToStop, remarks_on_stop, stop_action_of

from ..dependencies import Action, JsonBody, Use, nothing
from ..services import Services

router = APIRouter(tags=["runs"])

_PAGE: Final = 500


@router.post("/runs/cancel", status_code=204)
async def cancel_runs(
    body: Annotated[RunsToStop, Depends(JsonBody(RUNS_TO_STOP))], use: Use, action: Action = "interrupt"
) -> Response:
    """Cancels runs without waiting for their end. With a status, it is not an error if no run matches."""
    stop, headers = stop_action_of(action), remarks_on_stop(action)
    if statuses := body.statuses():
        await _stop(use, await _with_status(use, statuses), stop)
        return nothing(headers=headers)
    found = await _named(use, body)
    if not found:
        raise NotFound(NOT_FOUND)
    if not await _stop(use, found, stop):
        raise NotFound(ALL_OVER)
    return nothing(headers=headers)


async def _with_status(use: Services, statuses: Sequence[RunStatus]) -> list[RunRecord]:
    where = RunFilter(statuses=statuses)
    found: list[RunRecord] = []
    # List all before stopping the first, since stopping would shift the pages.
    while page := await use.runs.list_runs(where, limit=_PAGE, offset=len(found)):
        found.extend(page)
    return found


async def _named(use: Services, body: RunsToStop) -> list[RunRecord]:
    found = []
    for run_id in dict.fromkeys(body.run_ids or ()):
        try:
            found.append(await use.runs.get_run(run_id, thread_id=body.thread_id))
        except RunNotFound:
            continue
    return found


async def _stop(use: Services, runs: Sequence[RunRecord], action: StopAction) -> int:
    """Stop runs and return the number of runs that had not ended before."""
    stopped = 0
    # Newest first: stopping the head of a thread would let its next run begin.
    for run in sorted(runs, key=lambda run: run.queue_seq, reverse=True):
        try:
            stopped += (await use.runs.cancel(run.run_id, action=action)).effect != "already_ended"
        except RunNotFound:
            continue
    return stopped
