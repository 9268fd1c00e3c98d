"""Steering messages on the wire: the requests that send them, and their form in responses."""

from __future__ import annotations

from typing import Any, Final
from uuid import uuid4

from langchain_core.messages import convert_to_messages
from pydantic import Field, TypeAdapter, ValidationError

from runstead.runtime.json_types import JsonMapping, JsonObject
from runstead.runtime.runs.steering import SteeringMessage
from runstead.runtime.runs.types import RunRecord

from .body import WireModel
from .errors import Unprocessable

_KINDS: Final = {"human": "human", "user": "human", "system": "system", "developer": "system"}
_LONGEST_ID: Final = 128
_MOST: Final = 100


class InjectBody(WireModel):
    """Messages for a run that is going on: one as ``message``, or several as ``messages``."""

    message: Any = None
    messages: list[Any] | None = Field(None, max_length=_MOST)

    def to_input(self) -> JsonObject:
        """Return the input of a run with these messages. Raises Unprocessable."""
        if (self.message is None) == (self.messages is None):
            raise Unprocessable("give either message, or messages as a list")
        return {"messages": [self.message] if self.messages is None else self.messages}


INJECT: Final[TypeAdapter[InjectBody]] = TypeAdapter(InjectBody)


def steering_input(given: object) -> JsonObject:
    """Return the input of a run that steers: chat messages of a user or the system, each with an id.

    Raises Unprocessable for anything else, which a run that is going on could not take.
    """
    if not isinstance(given, dict) or given.keys() != {"messages"}:
        raise Unprocessable(
            "input: a run that steers has an object with messages, and nothing else; use "
            "multitask_strategy='enqueue' for other inputs"
        )
    messages = given["messages"] if isinstance(given["messages"], list) else [given["messages"]]
    if not 1 <= len(messages) <= _MOST:
        raise Unprocessable(f"messages: give 1 to {_MOST} messages")
    return {"messages": [_message(number, message) for number, message in enumerate(messages)]}


def from_message(message: SteeringMessage) -> JsonObject:
    """Return a message in the form for clients. ``taken`` is shown as ``waiting``: it may still return to that."""
    return {
        "message_id": message.message_id,
        "thread_id": message.thread_id,
        "run_id": message.run_id,
        "user_id": message.user_id,
        "status": "waiting" if message.status == "taken" else message.status,
        "created_at": message.created_at,
        "ended_at": message.ended_at,
        "messages": list(message.messages),
    }


def from_steered(record: RunRecord, *, is_taken: bool) -> JsonObject:
    """Return the response to a message for a run: it waits for the run, or has started it, as its thread was idle.

    ``is_taken``: the agent takes messages before its model calls.
    """
    delivery = "next_run" if record.message_id is None else "next_model_call" if is_taken else "unknown"
    return {
        "delivery": delivery,
        "thread_id": record.thread_id,
        "run_id": record.run_id,
        "message_id": record.message_id,
        "status": "moved" if record.message_id is None else "waiting",
    }


def _message(number: int, given: object) -> JsonObject:
    place = f"messages.{number}"
    if isinstance(given, str):
        given = {"role": "user", "content": given}
    if not isinstance(given, dict):
        raise Unprocessable(f"{place}: a message is a text, or an object with role and content")
    kind = _kind(place, given)
    content = given.get("content")
    if not isinstance(content, str | list) or not content:
        raise Unprocessable(f"{place}.content: give a text, or a list of content blocks")
    message_id = given.get("id") or str(uuid4())
    if not isinstance(message_id, str) or len(message_id) > _LONGEST_ID:
        raise Unprocessable(f"{place}.id: a text of at most {_LONGEST_ID} characters")
    own = {name: value for name, value in given.items() if name not in ("role", "type")}
    message = {**own, "type": kind, "id": message_id}
    _check_with_langchain(place, message)
    return message


def _check_with_langchain(place: str, message: JsonObject) -> None:
    """Raise Unprocessable for a message that LangChain refuses, which would fail the run that takes it."""
    try:
        convert_to_messages([message])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (place, *first["loc"]))
        raise Unprocessable(f"{where}: {first['msg']}") from error
    except Exception as error:
        raise Unprocessable(f"{place}: LangChain cannot read this message ({error})") from error


def _kind(place: str, given: JsonMapping) -> str:
    name = given.get("role") or given.get("type")
    if not isinstance(name, str) or name not in _KINDS:
        raise Unprocessable(f"{place}.role: only messages of the user or the system can be sent to a run")
    return _KINDS[name]
