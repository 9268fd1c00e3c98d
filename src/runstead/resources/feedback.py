"""Feedback of users on runs and messages: a score, a value, a comment; at most one per user and run or message.

Feedback belongs to its run: access to the run decides who reads it, and deleting the run deletes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Protocol

from runstead.runtime.runs.types import RunId, ThreadId

MAX_PER_RUN: Final = 1_000
"""Feedback that one user can give on one run and its messages."""


class FeedbackNotFound(Exception):
    """The actor has given no such feedback."""

    def __init__(self, run_id: RunId, message_id: str | None) -> None:
        subject = f"run {run_id}" if message_id is None else f"message '{message_id}' of run {run_id}"
        super().__init__(f"You have given no feedback on {subject}")


class FeedbackFull(Exception):
    """The actor has given feedback on too many messages of one run."""

    def __init__(self, run_id: RunId) -> None:
        super().__init__(
            f"You have given feedback on {MAX_PER_RUN} messages of run {run_id}, the maximum; delete some first"
        )


@dataclass(frozen=True, slots=True)
class Feedback:
    """Judgement of one user. ``value`` is any JSON value, such as a category or a corrected answer."""

    score: float | None = None
    value: Any = None
    comment: str | None = None


@dataclass(frozen=True, slots=True)
class FeedbackRecord:
    """Feedback as stored. ``message_id`` is None for feedback on the run as a whole."""

    run_id: RunId
    thread_id: ThreadId
    message_id: str | None
    user_id: str
    feedback: Feedback
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class FeedbackFilter:
    """Filter of feedback; all conditions must hold. ``min_score`` and ``max_score`` are inclusive."""

    thread_id: ThreadId | None = None
    run_id: RunId | None = None
    message_id: str | None = None
    user_id: str | None = None
    min_score: float | None = None
    max_score: float | None = None


class FeedbackStore(Protocol):
    """Feedback under the bound actor (ActorRequired without one). Another user's run looks like a missing one.

    Users read the feedback of all users on runs that they have access to, and change only their own.
    """

    async def put(self, run_id: RunId, message_id: str | None, feedback: Feedback) -> FeedbackRecord:
        """Store the actor's feedback on a run, or on a message of it; replace what the actor gave before.

        ``message_id`` is not checked. Raises RunNotFound, FeedbackFull.
        """
        ...

    async def search(self, where: FeedbackFilter, *, limit: int = 10, offset: int = 0) -> Sequence[FeedbackRecord]:
        """Return matching feedback, latest change first."""
        ...

    async def count(self, where: FeedbackFilter) -> int: ...

    async def of_messages(self, thread_id: ThreadId, message_ids: Sequence[str]) -> Sequence[FeedbackRecord]:
        """Return all feedback on these messages of a thread, oldest first."""
        ...

    async def delete(self, run_id: RunId, message_id: str | None) -> bool:
        """Delete the actor's own feedback; return False if there is none."""
        ...
