"""Routes for messages to runs that are going on. Specific to Runstead."""

from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response

from runstead.runtime.runs.exceptions import ThreadNotFound
from runstead.runtime.runs.types import RunRecord
from runstead.wire.errors import Conflict
from runstead.wire.runs import RUN_CREATE
from runstead.wire.steering import INJECT, InjectBody, from_message

from ..auth import policy
from ..auth.audit import note
from ..auth.authorization import authorize_run
from ..dependencies import JsonBody, Limit, Offset, RunId, ServicesDep, ThreadId, answer
from ..location_headers import created_headers
from ..openapi import responses
from ..route_declaration import declare
from ..run_specs import run_specs_of
from ..steering_answers import steered_answer

router = APIRouter(tags=["steering"])

_ASKS: Final = (
    "The thread waits for an answer, and a new message would drop the question: answer it first, with a run whose "
    "command has resume"
)


@router.post("/threads/{thread_id}/runs/{run_id}/inject")
# The run that a message may start is authorized below, where its assistant and input are known.
@declare(policy.THREAD_READ, responses.STEERED, writes=True)
async def inject_messages(
    thread_id: ThreadId,
    run_id: RunId,
    body: Annotated[InjectBody, Depends(JsonBody(INJECT))],
    request: Request,
    services: ServicesDep,
) -> Response:
    """Sends messages to a run that is going on. Its agent gets them before its next model call.

    A run that ends first leaves them to the next run of the thread. If no run is going on, they start one.
    """
    run = await services.runs.get_run(run_id, thread_id=thread_id)
    create = RUN_CREATE.validate_python(
        {
            "assistant_id": run.assistant_id,
            "input": body.to_input(),
            "multitask_strategy": "steer",
            "stream_mode": list(run.spec.stream_modes),
            "stream_subgraphs": run.spec.stream_subgraphs,
            "stream_resumable": run.spec.stream_resumable,
        }
    )
    create = await authorize_run(services, thread_id, create)
    async with services.interrupts.of(thread_id) as waiting:
        if waiting:
            raise Conflict(_ASKS)
        (spec,) = await run_specs_of([(create, thread_id)], request, services)
        record = await services.runs.create_background(spec)
    note(request, **_noted(record))
    return answer(await steered_answer(services, record, request), headers=created_headers(record))


def _noted(record: RunRecord) -> Mapping[str, str]:
    sent = {} if record.message_id is None else {"message_id": record.message_id}
    return {"run_id": record.run_id, **sent}


@router.get("/threads/{thread_id}/steering")
@declare(policy.THREAD_READ, responses.STEERING_MESSAGES)
async def list_messages(
    thread_id: ThreadId,
    services: ServicesDep,
    only_waiting: Annotated[bool, Query(description="Leave out messages that do not wait any more.")] = False,
    limit: Limit = 100,
    offset: Offset = 0,
) -> Response:
    """Messages for the runs of the thread, in the order of their arrival."""
    if await services.threads.get(thread_id) is None:
        raise ThreadNotFound(thread_id)
    found = await services.steering.list(thread_id, only_open=only_waiting, limit=limit, offset=offset)
    return answer([from_message(message) for message in found])


@router.get("/threads/{thread_id}/steering/{message_id}")
@declare(policy.THREAD_READ, responses.STEERING_MESSAGE)
async def get_message(thread_id: ThreadId, message_id: str, services: ServicesDep) -> Response:
    return answer(from_message(await services.steering.get(thread_id, message_id)))


@router.delete("/threads/{thread_id}/steering/{message_id}")
@declare(policy.THREAD_UPDATE, responses.STEERING_MESSAGE)
async def withdraw_message(thread_id: ThreadId, message_id: str, services: ServicesDep) -> Response:
    """Withdraws a message that waits, so that no run gets it."""
    withdrawn = await services.steering.withdraw(thread_id, message_id)
    await services.runs.messages_changed(withdrawn.run_id)
    return answer(from_message(withdrawn))
