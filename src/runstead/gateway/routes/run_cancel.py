"""Route that cancels several runs at once."""

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Depends
from starlette.responses import Response

from runstead.runtime.runs.exceptions import RunNotFound
from runstead.runtime.runs.types import RunFilter, RunRecord, RunStatus, StopAction
from runstead.wire.errors import NotFound
from runstead.wire.run_cancel import ALL_OVER, NOT_FOUND, RUNS_TO_STOP, RunsToStop, remarks_on_stop, stop_action_of

from ..auth import policy
from ..dependencies import Action, JsonBody, ServicesDep, empty_response
from ..openapi import responses
from ..route_declaration import declare
from ..services import Services

router = APIRouter(tags=["runs"])

_PAGE: Final = 500


@router.post("/runs/cancel", status_code=204)
@declare(policy.RUN_CANCEL_MANY, responses.NO_CONTENT)
async def cancel_runs(
    body: Annotated[RunsToStop, Depends(JsonBody(RUNS_TO_STOP))], services: ServicesDep, action: Action = "interrupt"
) -> Response:
    """Cancels runs without waiting for their end. With a status, it is not an error if no run matches."""
    stop, headers = stop_action_of(action), remarks_on_stop(action)
    if statuses := body.statuses():
        await _stop(services, await _with_status(services, statuses), stop)
        return empty_response(headers=headers)
    found = await _named(services, body)
    if not found:
        raise NotFound(NOT_FOUND)
    if not await _stop(services, found, stop):
        raise NotFound(ALL_OVER)
    return empty_response(headers=headers)


async def _with_status(services: Services, statuses: Sequence[RunStatus]) -> list[RunRecord]:
    where = RunFilter(statuses=statuses)
    found: list[RunRecord] = []
    # List all before stopping the first, since stopping would shift the pages.
    while page := await services.runs.list_runs(where, limit=_PAGE, offset=len(found)):
        found.extend(page)
    return found


async def _named(services: Services, body: RunsToStop) -> list[RunRecord]:
    found = []
    for run_id in dict.fromkeys(body.run_ids or ()):
        try:
            found.append(await services.runs.get_run(run_id, thread_id=body.thread_id))
        except RunNotFound:
            continue
    return found


async def _stop(services: Services, runs: Sequence[RunRecord], action: StopAction) -> int:
    """Stop runs and return the number of runs that had not ended before."""
    stopped = 0
    # Newest first: stopping the head of a thread would let its next run begin.
    for run in sorted(runs, key=lambda run: run.queue_seq, reverse=True):
        try:
            stopped += (await services.runs.cancel(run.run_id, action=action)).effect != "already_ended"
        except RunNotFound:
            continue
    return stopped
