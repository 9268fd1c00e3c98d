"""Errors as clients see them: a status and ``{"detail": sentence}``.

Only this module knows the status codes of errors. An error that is not listed here is a fault of the server: status
500, with a text that reveals no internals.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, ClassVar, Final

from runstead.resources.approvals import ApprovalClosed, ApprovalFull, ApprovalNotFound
from runstead.resources.assistant_lookup import (
    AssistantNotFound,
    ContextIncomplete,
    GraphNotFound,
    InvalidAssistant,
    SubgraphNotFound,
)
from runstead.resources.assistant_service import AssistantInUse, AssistantProtected
from runstead.resources.assistants import AssistantExists, VersionNotFound
from runstead.resources.channels import ChannelNotFound, InvalidSignature, LinkNotFound
from runstead.resources.crons import CronNotFound
from runstead.resources.feedback import FeedbackFull, FeedbackNotFound
from runstead.resources.interrupts import InvalidAnswer
from runstead.resources.items import EmbeddingFailed, InvalidItem
from runstead.resources.schedules import InvalidSchedule
from runstead.resources.states import CheckpointNotFound, GraphUnassigned, InvalidUpdate
from runstead.resources.threads import ThreadExists
from runstead.resources.webhooks import DeliveryNotFound, WebhookRefused
from runstead.runtime.field_encryption import EncryptionFailed, ReservedKey
from runstead.runtime.json_types import JsonMapping
from runstead.runtime.limits import LimitExceeded
from runstead.runtime.runs.budgets import BudgetExceeded
from runstead.runtime.runs.exceptions import (
    AgentNotFound,
    AgentTimeout,
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
from runstead.runtime.runs.steering import MessageNotFound, MessageNotWaiting, TooManyMessages
from runstead.runtime.storage_fault import FaultKind, StorageFault
from runstead.runtime.stream_bridge.exceptions import BridgeClosed, BridgeUnavailable, CapacityExceeded, StreamNotFound
from runstead.workspace import (
    ArchiveTooLarge,
    FileChanged,
    FileNotFound,
    FilePathConflict,
    FileTooLarge,
    InvalidFilePath,
    QuotaExceeded,
)

UNEXPECTED: Final = 500
"""Status of an unexpected error."""
MASKED: Final = "An internal error occurred. The server's log says more."
"""Text that replaces that of an unexpected error."""


class WireError(Exception):
    """Base class of errors that the wire itself raises. The text is for the client."""

    status: ClassVar[int] = 400
    headers: ClassVar[Mapping[str, str]] = {}


class BadRequest(WireError):
    """The request is valid but makes no sense here."""


class Unauthenticated(WireError):
    """The user is not authenticated."""

    status = 401


class Forbidden(WireError):
    """The user may not do this."""

    status = 403


class NotFound(WireError):
    """The object does not exist for this user."""

    status = 404


class Conflict(WireError):
    """The request conflicts with the present state."""

    status = 409


class BodyTooLarge(WireError):
    """The body exceeds the server's limit."""

    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The request body is larger than the {limit} bytes this server accepts")


class NotJson(WireError):
    """The body's content type is not JSON."""

    status = 415

    def __init__(self, content_type: str) -> None:
        announced = f"is announced as {content_type[:100]!r}" if content_type else "is not announced as anything"
        super().__init__(
            f"The body {announced}; send it as application/json, with the header 'content-type: application/json' "
            "(-H in curl, headers in fetch)"
        )


class UnsupportedMediaType(WireError):
    """The body has another content type than the route expects."""

    status = 415


class Unprocessable(WireError):
    """A value is invalid."""

    status = 422


class TooManyBytes(WireError):
    """The caller has too many bytes in flight; the same request succeeds once some of them are done."""

    status = 429
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Your requests and their answers hold more than {limit} bytes at once; wait for those in flight, "
            "or ask for less (setting memory_in_flight_user_bytes)"
        )


class Unavailable(WireError):
    """The server cannot do this now; the same request may succeed later."""

    status = 503
    headers: ClassVar[Mapping[str, str]] = {"retry-after": "1"}


class NoRoom(Unavailable):
    """The process holds its maximum of bytes for clients."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"Requests and answers hold more than {limit} bytes of this server at once; try again in a moment "
            "(setting memory_in_flight_bytes)"
        )


class Refused(Exception):
    """Response with the text and status of code that the operator has plugged in."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.detail, self.headers = status, detail, dict(headers or {})
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Problem:
    """Error response."""

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
_NO_DESCRIPTORS: Final = "The server has no file descriptors left. Send it again in a moment."
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
    FeedbackNotFound: (404, str),
    ApprovalNotFound: (404, str),
    ChannelNotFound: (404, str),
    LinkNotFound: (404, str),
    InvalidSignature: (401, str),
    FeedbackFull: (409, str),
    ApprovalClosed: (409, str),
    ApprovalFull: (409, str),
    MessageNotFound: (404, str),
    MessageNotWaiting: (409, str),
    TooManyMessages: (409, str),
    FileNotFound: (404, str),
    FilePathConflict: (409, str),
    FileChanged: (409, str),
    FileTooLarge: (413, str),
    QuotaExceeded: (413, str),
    ArchiveTooLarge: (413, str),
    InvalidFilePath: (422, str),
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
    AgentTimeout: (503, str),
    EmbeddingFailed: (503, str),
    EncryptionFailed: (503, str),
    BridgeClosed: (503, str),
    BridgeUnavailable: (503, str),
    CapacityExceeded: (503, str),
}


def problem_of(error: BaseException) -> Problem:
    """Return the response for ``error``. Unexpected errors get status 500 and a masked text."""
    if isinstance(error, WireError):
        return Problem(error.status, str(error), error.headers)
    if isinstance(error, StorageFault):
        return Problem(
            _STORAGE[error.kind], error.public_message, _AGAIN if error.kind in ("busy", "away", "closed") else {}
        )
    if isinstance(error, LimitExceeded):
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), {"retry-after": str(error.retry_after)})
    if isinstance(error, BudgetExceeded):
        after = {} if error.retry_after is None else {"retry-after": str(error.retry_after)}
        return Problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), after)
    if isinstance(error, Refused):
        return Problem(error.status, error.detail, error.headers)
    for kind in type(error).__mro__:
        if entry := _KNOWN.get(kind):
            status, text = entry
            return Problem(status, text(error), _AGAIN if status == HTTPStatus.SERVICE_UNAVAILABLE else {})
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return Problem(503, _NO_DESCRIPTORS, _AGAIN)
    return Problem(UNEXPECTED, MASKED)


def sentence_of(problems: Sequence[JsonMapping]) -> str:
    """Return pydantic's first error as one sentence, with its location."""
    first = problems[0]
    text = str(first["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ")
    if first["type"] in ("model_type", "dict_type"):
        # pydantic would name an internal class.
        text = "Input should be an object"
    place = ".".join(_steps(first))
    return f"{place}: {text}" if place else text


def _steps(problem: JsonMapping) -> list[str]:
    """Return the location in the request, without parts that only pydantic knows (branches of a union, "body",
    "query")."""
    if problem["type"] == "identifier":
        return []
    steps = list(problem["loc"])
    if len(steps) > 1 and steps[0] in ("body", "query", "path", "header"):
        # Added by FastAPI. On its own it is a field name: searches have one called query.
        del steps[0]
    return [str(step) for step in steps if isinstance(step, int) or step.isidentifier()]
