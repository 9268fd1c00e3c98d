"""What goes wrong, as clients see it: a status and ``{"detail": sentence}``.

The only place that knows status numbers of failures. What is not listed here is nobody's fault but ours:
a 500 whose text says nothing of the inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final

from runstead.resources.assistant_editor import AssistantInUse, AssistantProtected
from runstead.resources.assistants import AssistantExists, VersionNotFound
from runstead.resources.crons import CronNotFound
from runstead.resources.directory import (
    AssistantNotFound,
    ContextIncomplete,
    GraphNotFound,
    InvalidAssistant,
    SubgraphNotFound,
)
from runstead.resources.interrupts import InvalidAnswer
from runstead.resources.items import EmbeddingFailed, InvalidItem
from runstead.resources.schedules import InvalidSchedule
from runstead.resources.states import CheckpointNotFound, GraphUnassigned, InvalidUpdate
from runstead.resources.threads import ThreadExists
from runstead.resources.webhooks import DeliveryNotFound, WebhookRefused
from runstead.runtime.field_encryption import EncryptionFailed, ReservedKey
from runstead.runtime.runs.exceptions import (
    AgentNotFound,
    GraphCodeFailed,
    IdempotencyMismatch,
    InvalidRunSpec,
    RunConflict,
    RunNotFound,
    RunNotRetriable,
    ThreadBusy,
    ThreadNotFound,
    UnknownInterruptError,
)
from runstead.runtime.runs.thread_agents import AgentUnresponsive
from runstead.runtime.storage_fault import FaultKind, StorageFault
from runstead.runtime.stream_bridge import BridgeClosed, BridgeUnavailable, CapacityExceeded, StreamNotFound

UNEXPECTED: Final = 500
"""The status of what is nobody's fault but ours."""
MASKED: Final = "An internal error occurred. The server's log says more."
"""Told instead of the text of an error that nobody expected."""


class WireError(Exception):
    """Root of what the wire itself refuses. The text is for the client."""

    status: ClassVar[int] = 400
    headers: ClassVar[Mapping[str, str]] = {}


class BadRequest(WireError):
    """Understood, but it makes no sense here."""


class Unauthenticated(WireError):
    """Nobody knows who is asking."""

    status = 401


class Forbidden(WireError):
    """The one who asks may not do this."""

    status = 403


class NotFound(WireError):
    """There is no such thing for the one who asks."""

    status = 404


class Conflict(WireError):
    """It makes sense, but not as things stand now."""

    status = 409


class BodyTooLarge(WireError):
    """More bytes than the server takes."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than the {limit} bytes this server accepts")


class NotJson(WireError):
    """The body is not announced as JSON."""

    status = 415

    def __init__(self, content_type: str) -> None:
        announced = f"is announced as {content_type[:100]!r}" if content_type else "is not announced as anything"
        super().__init__(
            f"The body {announced}; send it as application/json, with the header 'content-type: application/json' "
            "(-H in curl, headers in fetch)"
        )


class Unprocessable(WireError):
    """A value that cannot be used."""

    status = 422


class TooManyBytes(WireError):
    """The caller has too much in flight; the same request works once some of it is done."""

    status = 429
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Your requests and their answers hold more than {limit} bytes at once; wait for those in flight, "
            "or ask for less (setting memory_in_flight_user_bytes)"
        )


class Unavailable(WireError):
    """Not now; the same request may work later."""

    status = 503
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}


class NoRoom(Unavailable):
    """The process holds as much for its clients as it may."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Requests and answers hold more than {limit} bytes of this server at once; try again in a moment "
            "(setting memory_in_flight_bytes)"
        )


class Refused(Exception):
    """An answer in the words, and with the status, of code that the operator has plugged in."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Problem:
    """An answer that is not what the client hoped for."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, str]:
        return {"detail": self.detail}


_STORAGE: Final[Mapping[FaultKind, int]] = {
    "full": 507,
    "read_only": 503,
    "busy": 503,
    "away": 503,
    "closed": 503,
    "keyless": 503,
    "damaged": 503,
    "broken": 503,
}
_AGAIN: Final = {"retry-after": "1"}
_BUSY: Final = "Thread is already running a task. Wait for it to finish or choose a different multitask strategy."

_KNOWN: Final[Mapping[type[Exception], tuple[int, Callable[[Any], str]]]] = {
    InvalidRunSpec: (400, str),
    InvalidUpdate: (400, str),
    GraphUnassigned: (400, str),
    AssistantProtected: (403, str),
    ThreadNotFound: (404, lambda _: "Thread or assistant not found."),
    RunNotFound: (404, lambda error: f"Run with ID {error.run_id} not found"),
    AssistantNotFound: (404, str),
    SubgraphNotFound: (404, str),
    GraphNotFound: (404, str),
    VersionNotFound: (404, str),
    CheckpointNotFound: (404, str),
    CronNotFound: (404, str),
    DeliveryNotFound: (404, str),
    ThreadBusy: (409, lambda _: _BUSY),
    ThreadExists: (409, str),
    AssistantExists: (409, str),
    AssistantInUse: (409, str),
    RunConflict: (409, str),
    RunNotRetriable: (409, str),
    UnknownInterruptError: (409, str),
    ContextIncomplete: (422, str),
    InvalidAnswer: (422, str),
    InvalidAssistant: (422, str),
    InvalidItem: (422, str),
    InvalidSchedule: (422, str),
    WebhookRefused: (422, str),
    ReservedKey: (422, str),
    IdempotencyMismatch: (422, lambda error: f"Idempotency-Key: {error}"),
    GraphCodeFailed: (422, str),
    AgentNotFound: (404, str),
    StreamNotFound: (404, str),
    AgentUnresponsive: (503, str),
    EmbeddingFailed: (503, str),
    EncryptionFailed: (503, str),
    BridgeClosed: (503, str),
    BridgeUnavailable: (503, str),
    CapacityExceeded: (503, str),
}


def problem_of(error: BaseException) -> Problem:
    """How ``error`` is told to a client. Status 500, with the text masked, for what is not expected."""
    if isinstance(error, WireError):
        return Problem(error.status, str(error), error.headers)
    if isinstance(error, StorageFault):
        return Problem(_STORAGE[error.kind], error.told, _AGAIN if error.kind in ("busy", "away", "closed") else {})
    if isinstance(error, Refused):
        return Problem(error.status, error.detail, error.headers)
    for kind in type(error).__mro__:
        if entry := _KNOWN.get(kind):
            status, text = entry
            return Problem(status, text(error), _AGAIN if status == HTTPStatus.SERVICE_UNAVAILABLE else {})
    return Problem(UNEXPECTED, MASKED)


def sentence_of(problems: Sequence[Mapping[str, Any]]) -> str:
    """The first of pydantic's complaints as one sentence, with the place it is about."""
    first = problems[0]
    text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] in ("model_type", "dict_type"):
        # pydantic would name a class of ours.
        text = "Input should be an object"
    place = ".".join(_steps(first))
    return f"{place}: {text}" if place else text


def _steps(problem: Mapping[str, Any]) -> list[str]:
    """Where in the request, without the parts that only pydantic knows (branches of a union, "body", "query")."""
    if problem["type"] == "identifier":
        return []
    steps = list(problem["loc"])
    if len(steps) > 1 and steps[0] in ("body", "query", "path", "header"):
        # Where FastAPI found it. Alone it is a field: searches have one that is called query.
        del steps[0]
    return [str(step) for step in steps if isinstance(step, int) or step.isidentifier()]
