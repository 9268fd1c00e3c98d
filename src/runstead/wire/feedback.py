"""Feedback on the wire: requests that give and search it, and its form in responses."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

from pydantic import BeforeValidator, Field, TypeAdapter

from runstead.resources.feedback import Feedback, FeedbackFilter, FeedbackRecord
from runstead.runtime.json_types import JsonObject
from runstead.runtime.serialization import encode

from .body import WireModel
from .errors import Unprocessable
from .identifiers import RunIdField, ThreadIdField
from .pages import Limit, Offset

MAX_BYTES: Final = 64 * 1024
"""Maximum bytes of a value, and characters of a comment."""


def _as_number(value: object) -> Any:
    """Return true and false as 1 and 0, which LangSmith accepts as scores, and whole numbers as floats."""
    return float(value) if isinstance(value, int) and abs(value) < 2**53 else value


Score: TypeAlias = Annotated[float, BeforeValidator(_as_number), Field(allow_inf_nan=False)]
MessageId: TypeAlias = Annotated[str, Field(min_length=1, max_length=128)]


class FeedbackPut(WireModel):
    """Feedback on a run, or on one of its messages. It replaces what the user gave before."""

    message_id: MessageId | None = None
    score: Score | None = None
    value: Any = None
    comment: Annotated[str, Field(max_length=MAX_BYTES)] | None = None

    def to_feedback(self) -> Feedback:
        """Return the feedback. Raises Unprocessable if there is none, or if the value is too large."""
        if self.score is None and self.value is None and self.comment is None:
            raise Unprocessable("Feedback needs a score, a value or a comment; to take it back, delete it")
        if len(encode(self.value)) > MAX_BYTES:
            raise Unprocessable(f"value: Value should have at most {MAX_BYTES} bytes as JSON")
        return Feedback(self.score, self.value, self.comment)


class FeedbackSearch(WireModel):
    thread_id: ThreadIdField | None = None
    run_id: RunIdField | None = None
    message_id: MessageId | None = None
    user_id: str | None = None
    min_score: Score | None = None
    max_score: Score | None = None
    limit: Limit | None = None
    offset: Offset | None = None

    def to_filter(self) -> FeedbackFilter:
        return FeedbackFilter(
            self.thread_id, self.run_id, self.message_id, self.user_id, self.min_score, self.max_score
        )


FEEDBACK_PUT: Final[TypeAdapter[FeedbackPut]] = TypeAdapter(FeedbackPut)
FEEDBACK_SEARCH: Final[TypeAdapter[FeedbackSearch]] = TypeAdapter(FeedbackSearch)


def from_feedback_record(record: FeedbackRecord) -> JsonObject:
    return {
        "run_id": record.run_id,
        "thread_id": record.thread_id,
        "message_id": record.message_id,
        "user_id": record.user_id,
        "score": record.feedback.score,
        "value": record.feedback.value,
        "comment": record.feedback.comment,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
    }
