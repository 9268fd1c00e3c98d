"""Steering messages: messages for a run that is going on, which its agent gets before its next model call.

A message is ``waiting`` until an attempt of a run takes it. It is ``taken`` until the state with it is stored, and then
``delivered``. A message that no run has taken when its thread becomes idle is ``moved``: it starts a run of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, NewType, Self, TypeAlias

from ..json_types import JsonMapping, JsonObject
from .exceptions import RunError
from .types import RunId, RunRecord, ThreadId

MessageId = NewType("MessageId", str)
MessageStatus: TypeAlias = Literal["waiting", "taken", "delivered", "withdrawn", "moved"]

OPEN_STATUSES: Final[tuple[MessageStatus, ...]] = ("waiting", "taken")


class MessageNotFound(RunError):
    """The actor has no such message on this thread."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"Message {message_id} was not found on this thread")


class MessageNotWaiting(RunError):
    """The message cannot be withdrawn any more."""

    def __init__(self, message_id: str, status: MessageStatus, run_id: RunId) -> None:
        # Taken but not yet stored: for the caller, this is delivered.
        shown = "delivered" if status == "taken" else status
        where = f" to run {run_id}" if shown in ("delivered", "moved") else ""
        super().__init__(f"Message {message_id} was {shown}{where} before; only a waiting message can be withdrawn")


class TooManyMessages(RunError):
    """Too much waits for the run already."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} wait on this thread; wait until its run takes them, withdraw some, or use "
            "multitask_strategy='enqueue'"
        )


@dataclass(frozen=True, slots=True)
class MessageLimits:
    """Limits of the messages that wait on one thread: their number, and the bytes of their contents together."""

    count: int = 100
    content_bytes: int = 1024 * 1024


@dataclass(frozen=True, slots=True)
class SteeringMessage:
    """Steering message as stored.

    ``run_id`` is the run that it waits for; of a delivered message the run that took it, of a moved one the run that
    starts with it. ``input`` has the chat messages, and is None once the message is not open any more: from then on,
    they are part of the thread's state, or withdrawn.
    """

    message_id: MessageId
    thread_id: ThreadId
    run_id: RunId
    user_id: str
    status: MessageStatus
    created_at: datetime
    ended_at: datetime | None = None
    input: object = None

    @property
    def messages(self) -> tuple[JsonObject, ...]:
        """The chat messages, as JSON."""
        given = self.input.get("messages") if isinstance(self.input, dict) else None
        return tuple(given) if isinstance(given, list) else ()

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES


@dataclass(frozen=True, slots=True)
class TakingTask:
    """The task of a graph in which messages were taken.

    ``namespace`` is that of the task's graph, ``checkpoint_id`` the checkpoint that the task's step continues from, and
    ``step`` the number of this step. A repeated execution of the task has the same values.
    """

    task_id: str
    namespace: str
    checkpoint_id: str | None
    step: int

    def to_json(self) -> JsonObject:
        return {
            "task_id": self.task_id,
            "namespace": self.namespace,
            "checkpoint_id": self.checkpoint_id,
            "step": self.step,
        }

    @classmethod
    def from_json(cls, fields: JsonMapping) -> Self:
        return cls(fields["task_id"], fields["namespace"], fields["checkpoint_id"], fields["step"])


@dataclass(frozen=True, slots=True)
class TakenMessage:
    """Message that an attempt has taken and that is not known to be delivered."""

    message_id: MessageId
    run_id: RunId
    attempt: int
    task: TakingTask


@dataclass(frozen=True, slots=True)
class Taking:
    """Result of taking: the messages for the caller, oldest first; or only ``unresolved`` ones of earlier attempts,
    which have to be resolved first."""

    messages: Sequence[SteeringMessage] = ()
    unresolved: Sequence[TakenMessage] = ()


@dataclass(frozen=True, slots=True)
class MovedMessage:
    """A message that starts a run of its own."""

    message_id: MessageId
    run: RunRecord
