"""Contents of run events are bounded in bytes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest

from runstead.runtime.runs.callbacks.bounds import MAX_CONTENT, bounded
from runstead.runtime.runs.callbacks.events import RunEventCallback
from runstead.runtime.runs.types import RunId, ThreadId
from runstead.runtime.serialization import encode


def test_bounded_returns_small_content_unchanged() -> None:
    content = {"text": "ü" * 1_000}
    assert bounded(content) == (content, None)


@pytest.mark.parametrize(
    "content",
    [
        {"type": "ai", "content": "x" * 1_000_000},
        {"type": "ai", "content": [{"type": "text", "text": "ü" * 10_000}] * 1_000},
        [{str(number): "y" * 500 for number in range(500)}] * 500,
        {"data": b"\x00\xff" * 200_000},
        "z" * 1_000_000,
    ],
    ids=range(5),
)
def test_bounded_shortens_large_content(content: Any) -> None:
    kept, size = bounded(content)
    assert size == len(encode(content))
    assert len(encode(kept)) <= MAX_CONTENT
    assert not isinstance(content, dict) or "type" not in content or kept["type"] == "ai"


def test_event_with_large_content_says_how_large_it_was() -> None:
    events = RunEventCallback(RunId("run"), ThreadId("thread"), lambda: datetime(2030, 1, 1, tzinfo=UTC))
    events.on_custom_event("picture", "x" * 100_000, run_id=uuid4())
    (event,) = events.take()
    assert len(encode(event.content)) <= MAX_CONTENT
    assert event.metadata["content_bytes"] > 100_000
