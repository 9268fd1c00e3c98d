"""The page about run events lists every type, with its category, and the bound of contents."""

from __future__ import annotations

import re
from pathlib import Path

from runstead.runtime.runs.callbacks.bounds import MAX_CONTENT
from runstead.runtime.runs.callbacks.events import EVENT_TYPES
from runstead.runtime.runs.types import StopReason

PAGE = (Path(__file__).parents[2] / "docs" / "run-events.md").read_text()


def test_every_event_type_is_listed_with_its_category() -> None:
    assert dict(re.findall(r"^\| `(\w+)` \| (\w+) \|", PAGE, re.MULTILINE)) == EVENT_TYPES


def test_bound_and_stop_reasons_are_listed() -> None:
    assert f"{MAX_CONTENT:,} bytes" in PAGE
    (line,) = [line for line in PAGE.splitlines() if line.startswith("| `run_stopped`")]
    assert {reason.value for reason in StopReason} <= set(re.findall(r"`(\w+)`", line))
