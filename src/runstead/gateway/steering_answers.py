"""Responses to messages for runs: whether the agent takes them before its next model call."""

from __future__ import annotations

from typing import Final

from starlette.requests import HTTPConnection

from runstead.resources.assistant_lookup import AssistantNotFound
from runstead.runtime.json_types import JsonObject
from runstead.runtime.runs.types import RunRecord
from runstead.wire.steering import from_steered

from .remark_headers import add_remarks
from .services import Services

_UNKNOWN: Final = (
    "graph {graph} has no SteeringMiddleware: unless its nodes take messages, the message waits for the next run of "
    "the thread"
)


async def steered_answer(services: Services, record: RunRecord, connection: HTTPConnection) -> JsonObject:
    """Return the response to a message; a remark says if the agent may leave it to the next run."""
    is_taken = False
    if record.message_id is not None:
        is_taken = await _is_taken(services, record)
        if not is_taken:
            add_remarks(connection, [_UNKNOWN.format(graph=record.spec.graph_id)])
    return from_steered(record, is_taken=is_taken)


async def _is_taken(services: Services, record: RunRecord) -> bool:
    try:
        assistant = await services.assistant_lookup.find(record.assistant_id)
    except AssistantNotFound:
        return False
    return await services.schemas.takes_messages(assistant)
