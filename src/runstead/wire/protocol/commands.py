"""Commands of the event protocol: requests of clients, and the envelopes of their responses.

A command that cannot be parsed is a bad request; every other command gets a response, with success or an error code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from pydantic import AliasChoices, Field, TypeAdapter, ValidationError

from runstead.resources.assistant_lookup import AssistantNotFound, ContextIncomplete, InvalidAssistant
from runstead.resources.interrupts import InvalidAnswer
from runstead.resources.states import CheckpointNotFound
from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.types import MultitaskStrategy

from ..body import WireModel
from ..errors import BadRequest, Forbidden, Unprocessable, problem_of, sentence_of
from ..runs import RunConfig, SendBody, TracerBody

ErrorCode: TypeAlias = Literal[
    "invalid_argument", "unknown_command", "unknown_error", "no_such_run", "no_such_subscription", "no_such_namespace",
    "no_such_interrupt", "no_such_checkpoint", "permission_denied", "unsupported", "resume_gap",
]  # fmt: skip
T = TypeVar("T")

ENVELOPE: Final = "Protocol commands must include an integer id and string method."
NOT_JSON: Final = "Protocol commands must be valid JSON."
NOT_TEXT: Final = "Protocol commands must be text messages of JSON, not binary ones."

_IN_PLAIN_WORDS: Final = (BadRequest, Unprocessable, ContextIncomplete, InvalidAnswer)
"""Errors of the client, reported without a status."""


class CommandRefused(Exception):
    """The command is valid but cannot be executed; ``facts`` are part of the response."""

    def __init__(self, code: ErrorCode, message: str, facts: JsonMapping | None = None) -> None:
        super().__init__(message)
        self.code, self.facts = code, facts or {}


class BadEnvelope(Exception):
    """The message is not a command. ``command_id`` is the value in the id's place."""

    def __init__(self, message: str, command_id: object = None) -> None:
        super().__init__(message)
        self.command_id = command_id if isinstance(command_id, str | int) else None


@dataclass(frozen=True, slots=True)
class Command:
    """Command of a client."""

    id: int
    method: str
    params: JsonMapping


def command_of(value: object) -> Command:
    """Parse a command. Raises BadEnvelope."""
    if not isinstance(value, dict):
        raise BadEnvelope(ENVELOPE)
    command_id, method = value.get("id"), value.get("method")
    params = value.get("params")
    if not isinstance(command_id, int) or isinstance(command_id, bool) or not isinstance(method, str):
        raise BadEnvelope(ENVELOPE, command_id)
    if params is not None and not isinstance(params, dict):
        raise BadEnvelope("Protocol commands take their params as an object.", command_id)
    return Command(command_id, method, params or {})


def success(command: Command, result: JsonMapping, applied_through: int = 0) -> JsonObject:
    """Return a success response. ``applied_through`` is the last seq sent on this connection; 0 for a separate
    request."""
    meta = {"applied_through_seq": applied_through}
    return {"type": "success", "id": command.id, "result": dict(result), "meta": meta}


def failure(command_id: object, code: ErrorCode, message: str, facts: JsonMapping | None = None) -> JsonObject:
    failed = {"type": "error", "id": command_id, "error": code, "message": message}
    return {**failed, "meta": dict(facts)} if facts else failed


def failure_of(command: Command, error: Exception) -> tuple[JsonObject, int]:
    """Return the response to a command that failed, and the equivalent HTTP status."""
    if isinstance(error, CommandRefused):
        return failure(command.id, error.code, str(error), error.facts), 400
    problem = problem_of(error)
    return failure(command.id, _code(error), _text(error, problem.status, problem.detail)), problem.status


def _code(error: Exception) -> ErrorCode:
    if isinstance(error, CheckpointNotFound):
        return "no_such_checkpoint"
    if isinstance(error, Forbidden):
        return "permission_denied"
    if isinstance(error, (AssistantNotFound, InvalidAssistant)):
        return "unknown_error"
    return "invalid_argument" if isinstance(error, _IN_PLAIN_WORDS) else "unknown_error"


def _text(error: Exception, status: int, detail: str) -> str:
    return detail if isinstance(error, _IN_PLAIN_WORDS) else f"{status}: {detail}"


def params_of(command: Command, adapter: TypeAdapter[T]) -> T:
    """Return the params as the command's type. Raises CommandRefused."""
    try:
        return adapter.validate_python(dict(command.params))
    except ValidationError as error:
        problem = sentence_of(error.errors(include_url=False, include_context=False))
        raise CommandRefused("invalid_argument", f"{command.method}: {problem}") from error


class RunStart(WireModel):
    assistant_id: str = ""
    input: Any = None
    config: RunConfig | None = None
    context: JsonObject | None = None
    metadata: JsonObject | None = None
    multitask_strategy: MultitaskStrategy | None = Field(
        None, validation_alias=AliasChoices("multitask_strategy", "multitaskStrategy")
    )
    langsmith_tracer: TracerBody | None = None


class Answer(WireModel):
    interrupt_id: str
    namespace: list[str] | None = None
    response: object = None


class InputRespond(WireModel):
    """One answer, or several; the other fields are applied in the same step."""

    interrupt_id: str | None = None
    namespace: list[str] | None = None
    response: object = None
    responses: list[Answer] | None = None
    update: JsonObject | None = None
    goto: str | SendBody | list[str | SendBody] | None = None
    config: RunConfig | None = None
    metadata: JsonObject | None = None
    strict_resume: bool | None = None

    def answers(self) -> JsonObject:
        """Return the responses by interrupt. Raises CommandRefused if there is none."""
        found = {answer.interrupt_id: answer.response for answer in self.responses or ()}
        if self.interrupt_id is not None:
            found[self.interrupt_id] = self.response
        if not found:
            raise CommandRefused(
                "invalid_argument", "input.respond requires an interrupt_id, or responses that have one."
            )
        return found


class InjectedMessage(WireModel):
    role: Literal["user", "system"]
    content: str
    name: str | None = None

    def to_message(self) -> JsonObject:
        kind = "human" if self.role == "user" else "system"
        return {"type": kind, "content": self.content, **({"name": self.name} if self.name else {})}


class InputInject(WireModel):
    message: InjectedMessage
    namespace: list[str] | None = None


class StateGet(WireModel):
    namespace: list[str] | None = None
    keys: list[str] | None = None


class ListCheckpoints(WireModel):
    namespace: list[str] | None = None
    limit: int | None = Field(None, ge=1, le=1_000)
    before: str | None = None


class StateFork(WireModel):
    checkpoint_id: str
    input: Any = None
    config: RunConfig | None = None


RUN_START: Final[TypeAdapter[RunStart]] = TypeAdapter(RunStart)
INPUT_RESPOND: Final[TypeAdapter[InputRespond]] = TypeAdapter(InputRespond)
INPUT_INJECT: Final[TypeAdapter[InputInject]] = TypeAdapter(InputInject)
STATE_GET: Final[TypeAdapter[StateGet]] = TypeAdapter(StateGet)
LIST_CHECKPOINTS: Final[TypeAdapter[ListCheckpoints]] = TypeAdapter(ListCheckpoints)
STATE_FORK: Final[TypeAdapter[StateFork]] = TypeAdapter(StateFork)
